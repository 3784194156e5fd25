/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration as JSON and as YAML; what differs between two, and what it takes. */
#include "router/config.h"
#include "router/config_diff.h"
#include "router/config_json.h"
#include "router/config_schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *root = ".";

static struct config *load(const char *text)
{
	struct config *config = NULL;
	struct error error = {""};

	if (config_load_text(&config, "/x.yaml", text, strlen(text), NULL, &error))
		fail_msg("%s", error.text);
	return config;
}

#define HEAD "nics:\n  - {name: a.b, port: {type: pcap, target: \"x,y\"}"
#define NICS HEAD "}\n  - {name: b, port: {type: tap, target: t0}, mtu: 1400}\n"

/* As YAML it is the same again: each example, and texts that mean something to readers of YAML. */
static void same_again(struct config *c)
{
	json_t *json = config_json(c), *again;
	char *yaml = config_yaml(json);
	struct config *copy = load(yaml);

	again = config_json(copy);
	if (!json_equal(json, again))
		fail_msg("not the same again:\n%s", yaml);
	free(yaml);
	json_decref(json);
	json_decref(again);
	config_free(copy);
	config_free(c);
}

static void test_yaml(void **state)
{
	same_again(load(NICS));
	same_again(
		load("router: {name: \"on\", flow_seed: 0, inner_flows: true}\n"
		     "engines: [{name: \"7\", core: 0}, {name: \"null\"}]\n" HEAD
		     ", engine: \"7\", addresses: [10.0.0.1/24, \"fd00::1/64\"],\n"
		     "   vlans: [{id: 7, addresses: []}, {id: 8}]}\n"
		     "  - {name: \"0x1F\", engine: \"null\", port: {type: tap, target: \"a: "
		     "\\\"b\\\" #c \\u00e4"
		     "\\n\\t%\", options: \"- x\"}}\n"
		     "neighbors: [{nic: a.b.7, address: 10.0.0.2, mac: \"02:00:00:00:00:02\"}]\n"
		     "routes: [{prefix: 0.0.0.0/0, next_hops: [{via: 10.0.0.2, weight: 3}]}]\n"));
	same_again(load("kernel: {namespace: \"yes\"}\npunt: {link: {rate: 7}}\n" NICS));
}

static void test_examples(void **state)
{
	char pattern[4096];
	glob_t found;
	struct error error;

	snprintf(pattern, sizeof(pattern), "%s/packaging/examples/*.yaml", root);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 4);
	for (size_t k = 0; k < found.gl_pathc; k++) {
		struct config *c;
		json_t *json;

		/* Their route files are found from their folder alone. */
		if (config_load(&c, found.gl_pathv[k], &error))
			fail_msg("%s", error.text);
		json = config_json(c);
		json_object_del(json, "route_files");
		char *yaml = config_yaml(json);
		struct config *copy = load(yaml);
		json_t *again = config_json(copy);

		assert_true(json_equal(json, again));
		json_decref(json);
		json_decref(again);
		free(yaml);
		config_free(copy);
		config_free(c);
	}
	globfree(&found);
}

/* Places that are empty are no NICs. */
static void test_places(void **state)
{
	static const unsigned number[] = {2, 0};
	struct config *c = load(NICS);
	json_t *json;

	assert_int_equal(config_place(c, number, 4), 0);
	json = config_json(c);
	assert_int_equal(json_array_size(json_object_get(json, "nics")), 2);
	json_decref(json);
	config_free(c);
}

/* "KEY effect; …" */
static const char *differences(const char *from, const char *to)
{
	static char text[4096];
	struct config *a = load(from), *b = load(to);
	json_t *x = config_json(a), *y = config_json(b), *rows = config_diff(x, y), *row;
	size_t k;

	text[0] = 0;
	json_array_foreach(rows, k, row)
	{
		const char *key = json_string_value(json_object_get(row, "key"));
		const bool is = json_object_get(row, "from"), will = json_object_get(row, "to");

		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s%s %s",
			k ? "; " : "",
			is && will ? ""
			: is       ? "-"
				   : "+",
			key, json_string_value(json_object_get(row, "effect")));
	}
	json_decref(rows);
	json_decref(x);
	json_decref(y);
	config_free(a);
	config_free(b);
	return text;
}

static void test_differences(void **state)
{
	assert_string_equal(differences(NICS, NICS), "");
	/* What is the default may be said or not, in any order. */
	assert_string_equal(
		differences(NICS, "nics:\n  - {name: b, mtu: 1400, port: {target: t0, "
				  "type: tap}}\n  - {name: a.b, mtu: 1500, port: {type: "
				  "pcap, target: \"x,y\"}}\nrouter: {batch: 8}\n"),
		"");
	assert_string_equal(
		differences(NICS, "router: {batch: 4, table: state-jump, flow_seed: 1}\n" NICS),
		"router.batch restart; router.table live; +router.flow_seed live");
	assert_string_equal(differences(NICS, HEAD "}\n"), "-nics.b nics");
	assert_string_equal(differences(HEAD "}\n", NICS), "+nics.b nics");
	assert_string_equal(differences(NICS, HEAD ", mtu: 1300, mac: \"02:00:00:00:00:02\"}\n"
						   "  - {name: b, port: {type: tap, target: t1, "
						   "options: x}, mtu: 1400}\n"),
		"nics.a.b.mtu live; +nics.a.b.mac nics; nics.b.port.target nics; "
		"+nics.b.port.options nics");
	assert_string_equal(differences(NICS, "engines: [{name: e}]\n" NICS), "+engines.e nics");
	assert_string_equal(differences(NICS "routes:\n"
					     "  - {prefix: 10.0.0.0/8, action: blackhole}\n"
					     "  - {prefix: 11.0.0.0/8, action: blackhole}\n",
				    NICS "routes:\n"
					 "  - {prefix: 10.0.0.0/8, action: prohibit}\n"
					 "  - {prefix: \"fd00::/8\", action: prohibit}\n"),
		"routes.10.0.0.0/8.action live; -routes.11.0.0.0/8 live; +routes.fd00::/8 live");
	assert_string_equal(
		differences(NICS, NICS "kernel: {}\n"), "router.nics_max restart; +kernel restart");
	assert_string_equal(differences(NICS "kernel: {}\n", NICS "kernel: {audit: 0, fpm: 1}\n"
								  "punt: {link: {rate: 1}}\n"),
		"kernel.fpm restart; kernel.audit live; +punt live");
	assert_string_equal(differences(HEAD ", addresses: [10.0.0.1/8], vlans: [{id: 7}]}\n",
				    HEAD ", addresses: [10.0.0.2/8], vlans: [{id: 7, mtu: 99}]}\n"),
		"nics.a.b.addresses live; nics.a.b.vlans.7.mtu live");
	/* The second of a name is another one. */
	assert_string_equal(
		differences(NICS "routes:\n  - {prefix: 10.0.0.0/8, action: blackhole}\n",
			NICS "routes:\n  - {prefix: 10.0.0.0/8, action: blackhole}\n"
			     "  - {prefix: 10.0.0.0/8, action: prohibit}\n"),
		"+routes.10.0.0.0/8#2 live");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_differences),
	};

	if (argc > 1)
		root = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
