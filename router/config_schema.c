/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_schema.h"

#include "driver/method.h"
#include "ipc/log.h"
#include "router/endpoint.h"

#include <errno.h>
#include <limits.h>
#include <p2pnic/registers.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_BYTES_MAX 255u
#define KEYS_MAX       18u /* of one mapping */

/* --- What a schema is ------------------------------------------------------------------------- */

enum kind {
	KIND_TEXT,    /* char * */
	KIND_TEXTS,   /* char **, and how many */
	KIND_NUMBER,  /* unsigned * */
	KIND_POWER,   /* the same, a power of two */
	KIND_CORE,    /* int * */
	KIND_SWITCH,  /* bool * */
	KIND_MAPPING, /* a structure within the structure */
	KIND_POINTED, /* a structure that is there, pointed to */
	KIND_LIST,    /* structures, and how many */
};

struct field {
	const char *key;
	size_t at;                   /* of the value, in the mapping's structure */
	size_t count_at;             /* of how many entries a list has */
	unsigned least, most;        /* a number; entries of a list */
	const struct schema *schema; /* of a mapping, or of each entry */
	bool (*valid)(const char *); /* a text; NULL: any is */
	const char *want;            /* what a valid one is */
	enum kind kind;
	bool required;
};

/* A mapping, and the structure that takes its values. */
struct schema {
	const struct field *field;
	size_t fields;
	size_t bytes;
};

/* The offset of a member; where it is of another type, this does not compile. */
#define AT(structure, member, type)                                                                \
	_Generic(&((structure *)0)->member, __typeof__((type *)0) : offsetof(structure, member))
#define FIELD(name, is, structure, type, ...)                                                      \
	{                                                                                          \
		.at = AT(structure, name, type), .key = #name, .kind = (is), __VA_ARGS__           \
	}
#define COUNTED(structure, key) .count_at = AT(structure, key##_count, unsigned)
#define SCHEMA(fields, structure)                                                                  \
	{                                                                                          \
		fields, sizeof(fields) / sizeof(*(fields)), sizeof(structure)                      \
	}

#define TEXT(key, in, ...)          FIELD(key, KIND_TEXT, in, char *, __VA_ARGS__)
#define NUMBER(key, in, ...)        FIELD(key, KIND_NUMBER, in, unsigned *, __VA_ARGS__)
#define POWER(key, in, ...)         FIELD(key, KIND_POWER, in, unsigned *, __VA_ARGS__)
#define CORE(key, in)               FIELD(key, KIND_CORE, in, int *, ANY)
#define SWITCH(key, in)             FIELD(key, KIND_SWITCH, in, bool *, ANY)
#define MAPPING(key, in, type, ...) FIELD(key, KIND_MAPPING, in, type, __VA_ARGS__)
#define POINTED(key, in, type, ...) FIELD(key, KIND_POINTED, in, type *, __VA_ARGS__)

#define TEXTS(key, in, ...)      FIELD(key, KIND_TEXTS, in, char **, COUNTED(in, key), __VA_ARGS__)
#define LIST(key, in, type, ...) FIELD(key, KIND_LIST, in, type *, COUNTED(in, key), __VA_ARGS__)

#define ANY             .required = false
#define REQUIRED        .required = true
#define RANGE(from, to) .least = (from), .most = (to)
#define NAME            .valid = config_name_valid, .want = CONFIG_NAME_WANTED

/* --- The keys --------------------------------------------------------------------------------- */

static bool method_valid(const char *text)
{
	return method_of_name(text);
}

static bool check_valid(const char *text)
{
	return check_of_name(text) < P2PNIC_CHECK_COUNT;
}

static bool reverse_path_valid(const char *text)
{
	return !strcmp(text, "none") || !strcmp(text, "loose") || !strcmp(text, "strict");
}

/* The name of a file in one folder. */
static bool namespace_valid(const char *text)
{
	return strlen(text) < 256 && !strchr(text, '/') && strcmp(text, ".") != 0 &&
	       strcmp(text, "..") != 0;
}
#define NAMESPACE_WANTED "want a name that `ip netns list` shows"

static bool table_valid(const char *text)
{
	return !strcmp(text, "line-trie") || !strcmp(text, "state-jump");
}

static bool action_valid(const char *text)
{
	return !strcmp(text, "blackhole") || !strcmp(text, "unreachable") ||
	       !strcmp(text, "prohibit");
}

/* As sysfs names a PCI function: hexadecimal digits, in lower case. */
static bool pci_valid(const char *text)
{
	static const char form[] = "hhhh:hh:hh.7";

	for (unsigned k = 0; k < sizeof(form); k++) {
		const bool digit = text[k] >= '0' && text[k] <= '9';

		if (form[k] == 'h'       ? !digit && (text[k] < 'a' || text[k] > 'f')
			: form[k] == '7' ? !digit || text[k] > '7'
					 : text[k] != form[k])
			return false;
	}
	return true;
}

static bool access_valid(const char *text)
{
	return !strcmp(text, "vfio") || !strcmp(text, "sysfs");
}

static const struct field router_fields[] = {
	TEXT(name, struct config_router, NAME),
	TEXT(runtime, struct config_router, ANY),
	TEXT(state, struct config_router, ANY),
	TEXT(method, struct config_router, .valid = method_valid, .want = "want " METHOD_NAMES),
	TEXT(check, struct config_router, .valid = check_valid, .want = "want " CHECK_NAMES),
	NUMBER(buffer_bytes, struct config_router,
		RANGE(P2PNIC_BUFFER_BYTES_MIN, P2PNIC_BUFFER_BYTES_MAX)),
	POWER(ring_slots, struct config_router,
		RANGE(P2PNIC_RING_SLOTS_MIN, P2PNIC_RING_SLOTS_MAX)),
	NUMBER(lend_from, struct config_router,
		RANGE(P2PNIC_FRAME_BYTES_MIN, P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX))),
	NUMBER(batch, struct config_router, RANGE(1, P2PNIC_BURST_MAX)),
	NUMBER(rx_buffers, struct config_router, RANGE(64, 8192)),
	POWER(packet_memory_mib, struct config_router, RANGE(16, 2048)),
	POWER(table_memory_mib, struct config_router, RANGE(16, 2048)),
	NUMBER(nics_max, struct config_router, RANGE(1, P2PNIC_NICS_MAX)),
	CORE(bounce_core, struct config_router),
	TEXT(table, struct config_router, .valid = table_valid,
		.want = "want line-trie or state-jump"),
	NUMBER(flow_seed, struct config_router, RANGE(0, UINT_MAX)),
	SWITCH(symmetric_flows, struct config_router),
	SWITCH(inner_flows, struct config_router),
};
_Static_assert(sizeof(router_fields) / sizeof(*router_fields) <= KEYS_MAX, "the most keys");
static const struct schema router_schema = SCHEMA(router_fields, struct config_router);

static const struct field engine_fields[] = {
	TEXT(name, struct config_engine, REQUIRED, NAME),
	CORE(core, struct config_engine),
	SWITCH(shared, struct config_engine),
	TEXT(process, struct config_engine, NAME),
};
static const struct schema engine_schema = SCHEMA(engine_fields, struct config_engine);

static const struct field port_fields[] = {
	TEXT(type, struct config_port, REQUIRED),
	TEXT(target, struct config_port, REQUIRED),
	TEXT(options, struct config_port, ANY),
};
static const struct schema port_schema = SCHEMA(port_fields, struct config_port);

static const struct field vlan_fields[] = {
	NUMBER(id, struct config_vlan, REQUIRED, RANGE(1, P2PNIC_VLANS_MAX - 2)),
	NUMBER(mtu, struct config_vlan,
		RANGE(P2PNIC_MTU_MIN, P2PNIC_VLAN_MTU_MAX(P2PNIC_BUFFER_BYTES_MAX))),
	TEXTS(addresses, struct config_vlan, RANGE(0, 64)),
};
static const struct schema vlan_schema = SCHEMA(vlan_fields, struct config_vlan);

static const struct field nic_fields[] = {
	TEXT(name, struct config_nic, REQUIRED, NAME),
	TEXT(engine, struct config_nic, NAME),
	MAPPING(port, struct config_nic, struct config_port, ANY, .schema = &port_schema),
	TEXT(pci, struct config_nic, .valid = pci_valid, .want = "want DDDD:BB:DD.F"),
	TEXT(access, struct config_nic, .valid = access_valid, .want = "want vfio or sysfs"),
	TEXT(card, struct config_nic),
	TEXT(mac, struct config_nic, ANY),
	NUMBER(mtu, struct config_nic,
		RANGE(P2PNIC_MTU_MIN, P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MAX))),
	TEXTS(addresses, struct config_nic, RANGE(0, 64)),
	TEXT(reverse_path, struct config_nic, .valid = reverse_path_valid,
		.want = "want none, loose or strict"),
	LIST(vlans, struct config_nic, struct config_vlan, RANGE(0, P2PNIC_VLANS_MAX - 2),
		.schema = &vlan_schema),
};
static const struct schema nic_schema = SCHEMA(nic_fields, struct config_nic);

static const struct field neighbor_fields[] = {
	TEXT(nic, struct config_neighbor, REQUIRED),
	TEXT(address, struct config_neighbor, REQUIRED),
	TEXT(mac, struct config_neighbor, REQUIRED),
};
static const struct schema neighbor_schema = SCHEMA(neighbor_fields, struct config_neighbor);

static const struct field next_hop_fields[] = {
	TEXT(via, struct config_next_hop, REQUIRED),
	NUMBER(weight, struct config_next_hop, RANGE(1, 256)),
};
static const struct schema next_hop_schema = SCHEMA(next_hop_fields, struct config_next_hop);

static const struct field route_fields[] = {
	TEXT(prefix, struct config_route, REQUIRED),
	TEXT(via, struct config_route, ANY),
	LIST(next_hops, struct config_route, struct config_next_hop, RANGE(1, 64),
		.schema = &next_hop_schema),
	TEXT(action, struct config_route, .valid = action_valid,
		.want = "want blackhole, unreachable or prohibit"),
};
static const struct schema route_schema = SCHEMA(route_fields, struct config_route);

static const struct field route_file_fields[] = {
	TEXT(file, struct config_route_file, REQUIRED),
	TEXTS(via, struct config_route_file, RANGE(1, 1024)),
};
static const struct schema route_file_schema = SCHEMA(route_file_fields, struct config_route_file);

static const struct field kernel_fields[] = {
	TEXT(namespace, struct config_kernel, .valid = namespace_valid, .want = NAMESPACE_WANTED),
	POWER(slots, struct config_kernel, RANGE(64, P2PNIC_RING_SLOTS_MAX)),
	NUMBER(fpm, struct config_kernel, RANGE(0, 65535)),
	NUMBER(audit, struct config_kernel, RANGE(0, 86400)),
};
static const struct schema kernel_schema = SCHEMA(kernel_fields, struct config_kernel);

/* More than any host takes: such a rate limits nothing. */
#define PUNT_RATE_MAX 100000000u

static const struct field policer_fields[] = {
	NUMBER(rate, struct config_policer, RANGE(1, PUNT_RATE_MAX)),
	NUMBER(burst, struct config_policer, RANGE(1, PUNT_RATE_MAX)),
	NUMBER(source_rate, struct config_policer, RANGE(1, PUNT_RATE_MAX)),
	NUMBER(source_burst, struct config_policer, RANGE(1, PUNT_RATE_MAX)),
};
static const struct schema policer_schema = SCHEMA(policer_fields, struct config_policer);

#define PUNT_CLASS(symbol, name, ring, meaning)                                                    \
	{                                                                                          \
		.key = (name),                                                                     \
		.at = offsetof(struct config_punt, class[P2PNIC_PUNT_##symbol]),                   \
		.kind = KIND_MAPPING,                                                              \
		.schema = &policer_schema,                                                         \
	},
static const struct field punt_fields[] = {P2PNIC_PUNT_CLASSES(PUNT_CLASS)};
#undef PUNT_CLASS
static const struct schema punt_schema = SCHEMA(punt_fields, struct config_punt);

static bool listen_valid(const char *text)
{
	struct endpoint endpoint;

	return endpoint_parse(text, &endpoint);
}

static const struct field metrics_fields[] = {
	TEXT(listen, struct config_metrics, REQUIRED, .valid = listen_valid,
		.want = ENDPOINT_WANTED),
	SWITCH(public, struct config_metrics),
	TEXT(namespace, struct config_metrics, .valid = namespace_valid, .want = NAMESPACE_WANTED),
};
static const struct schema metrics_schema = SCHEMA(metrics_fields, struct config_metrics);

static bool level_valid(const char *text)
{
	enum log_level level;

	return log_level_parse(text, &level);
}

static const struct field log_fields[] = {
	TEXT(level, struct config_log, .valid = level_valid, .want = "want " LOG_LEVEL_NAMES),
};
static const struct schema log_schema = SCHEMA(log_fields, struct config_log);

static const struct field config_fields[] = {
	POINTED(router, struct config, struct config_router, .schema = &router_schema),
	LIST(engines, struct config, struct config_engine, RANGE(0, UINT_MAX),
		.schema = &engine_schema),
	LIST(nics, struct config, struct config_nic, REQUIRED, RANGE(1, P2PNIC_NICS_MAX),
		.schema = &nic_schema),
	LIST(neighbors, struct config, struct config_neighbor, RANGE(0, UINT_MAX),
		.schema = &neighbor_schema),
	LIST(routes, struct config, struct config_route, RANGE(0, UINT_MAX),
		.schema = &route_schema),
	LIST(route_files, struct config, struct config_route_file, RANGE(0, UINT_MAX),
		.schema = &route_file_schema),
	POINTED(kernel, struct config, struct config_kernel, .schema = &kernel_schema),
	POINTED(punt, struct config, struct config_punt, .schema = &punt_schema),
	POINTED(metrics, struct config, struct config_metrics, .schema = &metrics_schema),
	POINTED(log, struct config, struct config_log, .schema = &log_schema),
};
static const struct schema config_schema = SCHEMA(config_fields, struct config);

/* --- From the tree ---------------------------------------------------------------------------- */

static int load_mapping(struct config_tree *, const struct config_node *, const char *name,
	const struct schema *, void *structure);

/* The node is of that kind, or it is said what it is instead. */
static int expect(
	struct config_tree *tree, const struct config_node *node, const char *name, int kind)
{
	static const char *const article[] = {[CONFIG_TEXT] = "a value",
		[CONFIG_LIST] = "a list",
		[CONFIG_MAPPING] = "a mapping"};

	if ((int)node->kind == kind)
		return 0;
	return config_tree_wrong(tree, node->mark, "%s: want %s, not %s", name, article[kind],
		node->kind == CONFIG_TEXT && !*node->text ? "nothing" : article[node->kind]);
}

static int load_text(
	struct config_tree *tree, const struct config_node *node, const struct field *f, char **to)
{
	int code = expect(tree, node, f->key, CONFIG_TEXT);

	if (code)
		return code;
	size_t length = strlen(node->text);
	if (!length || length > TEXT_BYTES_MAX)
		return config_tree_wrong(tree, node->mark, "%s: %zu bytes; want 1 to %u", f->key,
			length, TEXT_BYTES_MAX);
	if (f->valid && !f->valid(node->text))
		return config_tree_wrong(
			tree, node->mark, "%s '%s': %s", f->key, node->text, f->want);
	*to = strdup(node->text);
	return *to ? 0 : -ENOMEM;
}

/* Decimal digits without a zero in front, which some programs take for octal. */
static bool parse_number(const char *text, unsigned long *number)
{
	char *end;

	if (*text < '0' || *text > '9' || (*text == '0' && text[1]))
		return false;
	errno = 0;
	*number = strtoul(text, &end, 10);
	return !*end && !errno;
}

static int load_number(struct config_tree *tree, const struct config_node *node,
	const struct field *f, unsigned **to)
{
	const bool power = f->kind == KIND_POWER;
	unsigned long number;
	int code = expect(tree, node, f->key, CONFIG_TEXT);

	if (code)
		return code;
	const bool is_number = parse_number(node->text, &number);
	if (!is_number || number < f->least || number > f->most ||
		(power && (number & (number - 1))))
		return config_tree_wrong(tree, node->mark, "%s %s%.64s%s: want %s%u to %u", f->key,
			is_number ? "" : "'", node->text, is_number ? "" : "'",
			power ? "a power of two from " : "", f->least, f->most);
	*to = malloc(sizeof(**to));
	if (!*to)
		return -ENOMEM;
	**to = (unsigned)number;
	return 0;
}

static int load_core(
	struct config_tree *tree, const struct config_node *node, const struct field *f, int **to)
{
	unsigned long number;
	int code = expect(tree, node, f->key, CONFIG_TEXT);

	if (code)
		return code;
	const bool negative = *node->text == '-';
	if (!parse_number(node->text + negative, &number) || number > INT_MAX)
		return config_tree_wrong(
			tree, node->mark, "%s '%.64s': want a number", f->key, node->text);
	*to = malloc(sizeof(**to));
	if (!*to)
		return -ENOMEM;
	**to = negative ? -(int)number : (int)number;
	return 0;
}

/* YAML 1.1's words. */
static int load_switch(
	struct config_tree *tree, const struct config_node *node, const struct field *f, bool **to)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
	unsigned k = 0;
	int code = expect(tree, node, f->key, CONFIG_TEXT);

	if (code)
		return code;
	while (k < 6 && strcasecmp(node->text, words[k]) != 0)
		k++;
	if (k == 6)
		return config_tree_wrong(
			tree, node->mark, "%s '%.64s': want true or false", f->key, node->text);
	*to = malloc(sizeof(**to));
	if (!*to)
		return -ENOMEM;
	**to = k % 2;
	return 0;
}

static int load_list(struct config_tree *tree, const struct config_node *node,
	const struct field *f, void **to, unsigned *count)
{
	const size_t bytes = f->schema ? f->schema->bytes : sizeof(char *);
	size_t n = 0;
	int code = expect(tree, node, f->key, CONFIG_LIST);

	if (code)
		return code;
	for (const struct config_node *entry = node->first; entry; entry = entry->next)
		n++;
	if (n < f->least || n > f->most)
		return config_tree_wrong(tree, node->mark, "%s: %zu entries; want %u to %u", f->key,
			n, f->least, f->most);
	if (!n)
		return 0;
	*to = calloc(n, bytes);
	if (!*to)
		return -ENOMEM;
	*count = (unsigned)n;
	char *at = *to;
	for (const struct config_node *entry = node->first; entry; entry = entry->next, at += bytes)
		if (!config_goes_on(
			    &code, f->schema ? load_mapping(tree, entry, f->key, f->schema, at)
					     : load_text(tree, entry, f, (char **)at)))
			break;
	return code;
}

static int load_field(struct config_tree *tree, const struct config_node *node,
	const struct field *f, char *structure)
{
	void *at = structure + f->at;

	switch (f->kind) {
	case KIND_TEXT:
		return load_text(tree, node, f, at);
	case KIND_NUMBER:
	case KIND_POWER:
		return load_number(tree, node, f, at);
	case KIND_CORE:
		return load_core(tree, node, f, at);
	case KIND_SWITCH:
		return load_switch(tree, node, f, at);
	case KIND_MAPPING:
		return load_mapping(tree, node, f->key, f->schema, at);
	case KIND_POINTED:
		if (!*(void **)at)
			*(void **)at = calloc(1, f->schema->bytes);
		if (!*(void **)at)
			return -ENOMEM;
		return load_mapping(tree, node, f->key, f->schema, *(void **)at);
	default:
		return load_list(tree, node, f, at, (unsigned *)(structure + f->count_at));
	}
}

/* "router, engines, …" */
static const char *list_keys(const struct schema *schema, char *to, size_t room)
{
	size_t used = 0;

	for (size_t k = 0; k < schema->fields && used < room; k++)
		used += (size_t)snprintf(
			to + used, room - used, "%s%s", k ? ", " : "", schema->field[k].key);
	return to;
}

/* A key of a mapping, and its value. seen: where those before were. */
static int load_key(struct config_tree *tree, const struct config_node *key, const char *name,
	const struct schema *schema, const struct config_node **seen, void *structure)
{
	char keys[256];
	size_t k = 0;
	int code = expect(tree, key, "a key", CONFIG_TEXT);

	if (code)
		return code;
	while (k < schema->fields && strcmp(schema->field[k].key, key->text) != 0)
		k++;
	if (k == schema->fields)
		return config_tree_wrong(tree, key->mark, "unknown key '%.64s' in %s; want %s",
			key->text, name, list_keys(schema, keys, sizeof(keys)));
	if (seen[k])
		return config_tree_wrong(tree, key->mark,
			"%s: a second time; the first is in line %u", key->text,
			seen[k]->mark.line);
	seen[k] = key;
	return load_field(tree, key->next, &schema->field[k], structure);
}

static int load_mapping(struct config_tree *tree, const struct config_node *node, const char *name,
	const struct schema *schema, void *structure)
{
	const struct config_node *seen[KEYS_MAX] = {NULL};
	int code = expect(tree, node, name, CONFIG_MAPPING);

	if (code)
		return code;
	for (const struct config_node *key = node->first; key; key = key->next->next)
		if (!config_goes_on(&code, load_key(tree, key, name, schema, seen, structure)))
			return code;
	for (size_t k = 0; k < schema->fields; k++)
		if (schema->field[k].required && !seen[k])
			config_goes_on(
				&code, config_tree_wrong(tree, node->mark, "%s: lacks the key %s",
					       name, schema->field[k].key));
	return code;
}

int config_schema_load(struct config *config, struct config_tree *tree)
{
	return load_mapping(tree, tree->root, "the file", &config_schema, config);
}

/* --- To JSON ---------------------------------------------------------------------------------- */

static json_t *mapping_json(const struct schema *schema, const char *structure);

static json_t *list_json(const struct field *f, const char *at, unsigned n)
{
	json_t *list = json_array();

	for (unsigned k = 0; k < n; k++)
		json_array_append_new(
			list, f->schema ? mapping_json(f->schema, at + k * f->schema->bytes)
					: json_string(((char *const *)at)[k]));
	return list;
}

/* NULL: it has no value. */
static json_t *field_json(const struct field *f, const char *structure)
{
	const char *at = structure + f->at;
	const void *value = f->kind == KIND_MAPPING ? at : *(void *const *)at;

	if (!value)
		return NULL;
	switch (f->kind) {
	case KIND_TEXT:
		return json_string(value);
	case KIND_NUMBER:
	case KIND_POWER:
		return json_integer(*(const unsigned *)value);
	case KIND_CORE:
		return json_integer(*(const int *)value);
	case KIND_SWITCH:
		return json_boolean(*(const bool *)value);
	case KIND_MAPPING:
	case KIND_POINTED:
		return mapping_json(f->schema, value);
	default:
		return list_json(f, value, *(const unsigned *)(structure + f->count_at));
	}
}

static json_t *mapping_json(const struct schema *schema, const char *structure)
{
	json_t *o = json_object();

	for (const struct field *f = schema->field; f < schema->field + schema->fields; f++) {
		json_t *value = field_json(f, structure);

		/* A port that is not there, a punt class of which nothing is said. */
		if (value && f->kind == KIND_MAPPING && !json_object_size(value))
			json_decref(value);
		else if (value)
			json_object_set_new(o, f->key, value);
	}
	return o;
}

json_t *config_schema_json(const struct config *config)
{
	return mapping_json(&config_schema, (const char *)config);
}

/* --- And away --------------------------------------------------------------------------------- */

static void free_mapping(const struct schema *schema, char *structure)
{
	for (const struct field *f = schema->field; f < schema->field + schema->fields; f++) {
		char *at = structure + f->at;
		void *pointer = f->kind == KIND_MAPPING ? NULL : *(void **)at;
		unsigned n = f->kind == KIND_LIST || f->kind == KIND_TEXTS
				     ? *(unsigned *)(structure + f->count_at)
				     : 0;

		if (f->kind == KIND_MAPPING)
			free_mapping(f->schema, at);
		else if (f->kind == KIND_POINTED && pointer)
			free_mapping(f->schema, pointer);
		for (unsigned k = 0; k < n; k++)
			if (f->kind == KIND_LIST)
				free_mapping(f->schema, (char *)pointer + k * f->schema->bytes);
			else
				free(((char **)pointer)[k]);
		free(pointer);
	}
}

void config_schema_free(struct config *config)
{
	free_mapping(&config_schema, (char *)config);
}
