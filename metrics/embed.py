#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""embed.py IN.html OUT.c: the page as bytes, and the Content-Security-Policy that admits its own
style and script by their digests (CSP 3 §2.3.1) and nothing else."""

import base64
import hashlib
import re
import sys


def digest(page, tag):
    found = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
    assert len(found) == 1, f"one <{tag}>, without attributes"
    return base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()


def main():
    with open(sys.argv[1], encoding="utf8") as file:
        page = file.read()
    policy = (f"default-src 'none'; style-src 'sha256-{digest(page, 'style')}'; "
              f"script-src 'sha256-{digest(page, 'script')}'; connect-src 'self'; img-src data:; "
              "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    data = page.encode()
    rows = [", ".join(map(str, data[k:k + 20])) for k in range(0, len(data), 20)]
    with open(sys.argv[2], "w", encoding="utf8") as file:
        file.write('#include "metrics/page.h"\n'
                   f'const char page_policy[] = "{policy}";\n'
                   f"const size_t page_bytes = {len(data)};\n"
                   "const unsigned char page[] = {\n" + ",\n".join(rows) + "};\n")


main()
