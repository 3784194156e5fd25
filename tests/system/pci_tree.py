# SPDX-License-Identifier: BSD-3-Clause
"""A sysfs tree of PCI functions in a folder, made from a description, with configuration spaces of
real layout.

    host = Host(tmp_path)
    host.switch(4)                     # root port, switch, four NICs that vfio-pci has
    host.nic("pci0000:00/0000:00:02.0/0000:09:00.0", driver=None)
"""

import os
import struct

NIC = 0x1209, 0x0002
ENDPOINT, ROOT, UPSTREAM, DOWNSTREAM = 0, 4, 5, 6
SV, TB, RR, CR, UF = 1, 2, 4, 8, 16
BARS = ("0x00000000fe000000 0x00000000fe00ffff 0x0000000000140204\n"
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
        "0x0000004000000000 0x0000004000ffffff 0x000000000014220c\n"
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
        "0x0000004001000000 0x0000004001ffffff 0x000000000014220c\n"
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n")


def config_space(identity, kind, acs):
    """Power management at 0x40, PCI Express at 0x70, error reporting at 0x100, ACS at 0x140."""
    space = bytearray(4096)
    struct.pack_into("<HHHH", space, 0, *identity, 6, 0x10)
    space[0x0e] = 0 if kind == ENDPOINT else 1
    space[0x34] = 0x40
    struct.pack_into("<BB", space, 0x40, 0x01, 0x70)
    struct.pack_into("<BBH", space, 0x70, 0x10, 0, 2 | kind << 4)
    struct.pack_into("<I", space, 0x100, 0x00020001 | (0 if acs is None else 0x14000000))
    if acs is not None:
        struct.pack_into("<IHH", space, 0x140, 0x0001000d, SV | TB | RR | CR | UF, acs)
    return bytes(space)


class Host:
    def __init__(self, folder, vfio=True):
        self.sys = folder / "sys"
        (self.sys / "bus/pci/devices").mkdir(parents=True)
        (self.sys / "bus/pci/drivers").mkdir()
        if vfio:
            (self.sys / "bus/pci/drivers/vfio-pci").mkdir()

    def at(self, address):
        return self.sys / "bus/pci/devices" / address

    def add(self, place, identity=NIC, kind=ENDPOINT, acs=None, driver=None, group=None,
            config=4096, files=None):
        """place: "pci0000:00/…/ADDRESS"."""
        folder = self.sys / "devices" / place
        folder.mkdir(parents=True, exist_ok=True)
        contents = {"vendor": f"0x{identity[0]:04x}\n", "device": f"0x{identity[1]:04x}\n",
                    "class": "0x020000\n" if kind == ENDPOINT else "0x060400\n",
                    "resource": BARS, "numa_node": "0\n", "current_link_speed": "16.0 GT/s PCIe\n",
                    "current_link_width": "16\n", **(files or {})}
        for name, text in contents.items():
            if text is not None:
                (folder / name).write_text(text)
        (folder / "config").write_bytes(config_space(identity, kind, acs)[:config])
        link = self.sys / "bus/pci/devices" / folder.name
        link.symlink_to(os.path.relpath(folder, link.parent))
        if driver:
            (folder / "driver").symlink_to(f"../../bus/pci/drivers/{driver}")
        if group is not None:
            members = self.sys / f"kernel/iommu_groups/{group}/devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / folder.name).symlink_to(folder)
            (folder / "iommu_group").symlink_to(members.parent)

    def port(self, place, kind, **options):
        self.add(place, (0x1b36, 0x000c), kind, driver="pcieport", **options)

    def switch(self, nics, acs=SV, group=None, driver="vfio-pci", config=4096):
        """Below root port 0000:00:01.0: NICs 0000:03:00.0 …, in one IOMMU group, or from 10."""
        up = "pci0000:00/0000:00:01.0/0000:01:00.0"
        self.port(os.path.dirname(up), ROOT, acs=SV | RR | CR | UF, group=group, config=config)
        self.port(up, UPSTREAM, group=group, config=config)
        for k in range(nics):
            down = f"{up}/0000:02:{k:02x}.0"
            self.port(down, DOWNSTREAM, acs=acs, group=group, config=config)
            self.add(f"{down}/0000:{3 + k:02x}:00.0", driver=driver, config=config,
                     group=10 + k if group is None else group)
