/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config.h"

#include <p2pnic/registers.h>

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

/* --- Schema ----------------------------------------------------------------------------------- */

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, structure, required)                                                             \
	CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER | (required), structure, key, 1, 255)
#define NUMBER(key, structure)                                                                     \
	CYAML_FIELD_UINT_PTR(#key, CYAML_FLAG_POINTER | OPTIONAL, structure, key)
#define LIST(key, entry)                                                                           \
	CYAML_FIELD_SEQUENCE(#key, CYAML_FLAG_POINTER | OPTIONAL, struct config, key, entry, 0,    \
		CYAML_UNLIMITED)

static const cyaml_schema_field_t router_fields[] = {
	TEXT(name, struct config_router, OPTIONAL),
	TEXT(runtime, struct config_router, OPTIONAL),
	TEXT(method, struct config_router, OPTIONAL),
	NUMBER(buffer_bytes, struct config_router),
	NUMBER(ring_slots, struct config_router),
	NUMBER(batch, struct config_router),
	NUMBER(rx_buffers, struct config_router),
	NUMBER(packet_memory_mib, struct config_router),
	NUMBER(table_memory_mib, struct config_router),
	CYAML_FIELD_INT_PTR(
		"bounce_core", CYAML_FLAG_POINTER | OPTIONAL, struct config_router, bounce_core),
	TEXT(table, struct config_router, OPTIONAL),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t engine_fields[] = {
	TEXT(name, struct config_engine, 0),
	CYAML_FIELD_INT_PTR("core", CYAML_FLAG_POINTER | OPTIONAL, struct config_engine, core),
	CYAML_FIELD_BOOL_PTR("shared", CYAML_FLAG_POINTER | OPTIONAL, struct config_engine, shared),
	TEXT(process, struct config_engine, OPTIONAL),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t engine_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_engine, engine_fields)};

static const cyaml_schema_field_t port_fields[] = {
	TEXT(type, struct config_port, 0),
	TEXT(target, struct config_port, 0),
	TEXT(options, struct config_port, OPTIONAL),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t text_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 255)};

static const cyaml_schema_field_t nic_fields[] = {
	TEXT(name, struct config_nic, 0),
	TEXT(engine, struct config_nic, OPTIONAL),
	CYAML_FIELD_MAPPING("port", CYAML_FLAG_DEFAULT, struct config_nic, port, port_fields),
	TEXT(mac, struct config_nic, OPTIONAL),
	NUMBER(mtu, struct config_nic),
	CYAML_FIELD_SEQUENCE("addresses", CYAML_FLAG_POINTER | OPTIONAL, struct config_nic,
		addresses, &text_entry, 0, 64),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t nic_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_nic, nic_fields)};

static const cyaml_schema_field_t neighbor_fields[] = {
	TEXT(nic, struct config_neighbor, 0),
	TEXT(address, struct config_neighbor, 0),
	TEXT(mac, struct config_neighbor, 0),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t neighbor_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_neighbor, neighbor_fields)};

static const cyaml_schema_field_t next_hop_fields[] = {
	TEXT(via, struct config_next_hop, 0),
	NUMBER(weight, struct config_next_hop),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t next_hop_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_next_hop, next_hop_fields)};

static const cyaml_schema_field_t route_fields[] = {
	TEXT(prefix, struct config_route, 0),
	TEXT(via, struct config_route, OPTIONAL),
	CYAML_FIELD_SEQUENCE("next_hops", CYAML_FLAG_POINTER | OPTIONAL, struct config_route,
		next_hops, &next_hop_entry, 1, 64),
	TEXT(action, struct config_route, OPTIONAL),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t route_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_route, route_fields)};

static const cyaml_schema_field_t route_file_fields[] = {
	TEXT(file, struct config_route_file, 0),
	CYAML_FIELD_SEQUENCE("via", CYAML_FLAG_POINTER | OPTIONAL, struct config_route_file, via,
		&text_entry, 1, 1024),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t route_file_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_route_file, route_file_fields)};

static const cyaml_schema_field_t config_fields[] = {
	CYAML_FIELD_MAPPING_PTR(
		"router", CYAML_FLAG_POINTER | OPTIONAL, struct config, router, router_fields),
	LIST(engines, &engine_entry),
	CYAML_FIELD_SEQUENCE(
		"nics", CYAML_FLAG_POINTER, struct config, nics, &nic_entry, 1, P2PNIC_NICS_MAX),
	LIST(neighbors, &neighbor_entry),
	LIST(routes, &route_entry),
	LIST(route_files, &route_file_entry),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields)};

/* --- Errors, with the line -------------------------------------------------------------------- */

#define UNEXPECTED "Unexpected key: "

/* What libcyaml logs of a failed load: the reason first, then where, innermost first. */
struct load_log {
	char reason[256];
	unsigned line;
};

__attribute__((format(printf, 3, 0))) static void on_log(
	cyaml_log_t level, void *context, const char *format, va_list arguments)
{
	struct load_log *log = context;
	char text[256];
	const char *at;

	vsnprintf(text, sizeof(text), format, arguments);
	text[strcspn(text, "\n")] = 0;
	at = strstr(text, "line: ");
	if (at && !log->line)
		log->line = (unsigned)strtoul(at + 6, NULL, 10);
	/* "Load: …" up to the backtrace; libyaml's own messages carry the line too. */
	if (!log->reason[0] && !strstr(text, "Backtrace") && !at)
		snprintf(log->reason, sizeof(log->reason), "%s",
			!strncmp(text, "Load: ", 6) ? text + 6 : text);
	else if (at && !strstr(text, "in mapping") && !strstr(text, "in sequence") &&
		 log->reason[0] == 0)
		snprintf(log->reason, sizeof(log->reason), "%s", text);
}

static const yaml_node_t *child(yaml_document_t *document, const yaml_node_t *node, const char *key)
{
	for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
		p < node->data.mapping.pairs.top; p++) {
		const yaml_node_t *k = yaml_document_get_node(document, p->key);

		if (k && k->type == YAML_SCALAR_NODE &&
			!strcmp((const char *)k->data.scalar.value, key))
			return yaml_document_get_node(document, p->value);
	}
	return NULL;
}

/* The entry of a list, or the node itself where there is no such entry. */
static const yaml_node_t *entry(yaml_document_t *document, const yaml_node_t *node, unsigned index)
{
	if (node && node->type == YAML_SEQUENCE_NODE &&
		index < (unsigned)(node->data.sequence.items.top - node->data.sequence.items.start))
		return yaml_document_get_node(document, node->data.sequence.items.start[index]);
	return node;
}

/* A place in the file: list[index].key[item]; key NULL: of the entry. list NULL: the first key of
 * that name from line `from` on. */
struct place {
	const char *list;
	unsigned index;
	const char *key;
	unsigned item;
	unsigned from;
};

static unsigned line_in(yaml_document_t *document, const struct place *p)
{
	const yaml_node_t *node = yaml_document_get_root_node(document);
	const yaml_node_t *field = NULL;

	for (int k = 1; !p->list && (node = yaml_document_get_node(document, k)); k++) {
		if (node->type != YAML_MAPPING_NODE)
			continue;
		for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
			pair < node->data.mapping.pairs.top; pair++) {
			const yaml_node_t *key = yaml_document_get_node(document, pair->key);

			if (key->type == YAML_SCALAR_NODE && key->start_mark.line + 1 >= p->from &&
				!strcmp((const char *)key->data.scalar.value, p->key))
				return (unsigned)key->start_mark.line + 1;
		}
	}
	if (node && node->type == YAML_MAPPING_NODE)
		node = child(document, node, p->list);
	node = entry(document, node, p->index);
	if (node && p->key && node->type == YAML_MAPPING_NODE)
		field = entry(document, child(document, node, p->key), p->item);
	if (field)
		node = field;
	return node ? (unsigned)node->start_mark.line + 1 : 0;
}

/* The line of a place, by reading the file once more; 0: not found. */
static unsigned line_of(const char *path, const struct place *place)
{
	FILE *file = fopen(path, "r");
	yaml_parser_t parser;
	yaml_document_t document;
	unsigned line = 0;

	if (!file)
		return 0;
	if (!yaml_parser_initialize(&parser)) {
		fclose(file);
		return 0;
	}
	yaml_parser_set_input_file(&parser, file);
	if (yaml_parser_load(&parser, &document)) {
		line = line_in(&document, place);
		yaml_document_delete(&document);
	}
	yaml_parser_delete(&parser);
	fclose(file);
	return line;
}

/* Where YAML itself goes wrong; libcyaml names the beginning of what encloses it. Or where an
 * escape is a zero, which libcyaml takes for the end of the text. 0: nowhere. */
static unsigned syntax_line(const char *path)
{
	FILE *file = fopen(path, "r");
	yaml_parser_t parser;
	yaml_event_t event;
	unsigned line = 0;
	bool more = true;

	if (!file)
		return 0;
	if (!yaml_parser_initialize(&parser)) {
		fclose(file);
		return 0;
	}
	yaml_parser_set_input_file(&parser, file);
	while (more) {
		if (!yaml_parser_parse(&parser, &event)) {
			line = (unsigned)parser.problem_mark.line + 1;
			break;
		}
		more = event.type != YAML_STREAM_END_EVENT;
		if (event.type == YAML_SCALAR_EVENT &&
			memchr(event.data.scalar.value, 0, event.data.scalar.length)) {
			line = (unsigned)event.start_mark.line + 1;
			more = false;
		}
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	fclose(file);
	return line;
}

struct checker {
	const char *path;
	struct error *error;
	unsigned item; /* of a list in an entry: which one is being checked */
};

__attribute__((format(printf, 5, 6))) static int wrong(struct checker *c, const char *list,
	unsigned index, const char *key, const char *format, ...)
{
	struct error reason;
	va_list arguments;

	va_start(arguments, format);
	error_set_list(&reason, -EINVAL, format, arguments);
	va_end(arguments);
	const struct place place = {list, index, key, c->item, 0};

	return error_set(
		c->error, -EINVAL, "%s:%u: %s", c->path, line_of(c->path, &place), reason.text);
}

/* --- Meaning ---------------------------------------------------------------------------------- */

bool config_name_valid(const char *name)
{
	size_t n = strlen(name);

	return n && n < 32 && *name != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       n;
}

static int check_memory(struct checker *c, const char *key, const unsigned *mib)
{
	if (mib && (*mib < 16 || *mib > 2048 || (*mib & (*mib - 1))))
		return wrong(c, "router", 0, key, "%s %u: want a power of two from 16 to 2048", key,
			*mib);
	return 0;
}

static int check_router(struct config *config, struct checker *c)
{
	static const struct {
		const char *name;
		unsigned method;
	} methods[] = {{"wr", P2PNIC_METHOD_WRITE}, {"rd", P2PNIC_METHOD_READ},
		{"bn", P2PNIC_METHOD_BOUNCE}};
	struct config_router *r = config->router;
	unsigned slots = r->ring_slots ? *r->ring_slots : P2PNIC_RING_SLOTS_MAX;

	r->method_number = P2PNIC_METHOD_WRITE;
	if (r->method) {
		r->method_number = 0;
		for (unsigned k = 0; k < sizeof(methods) / sizeof(*methods); k++)
			if (!strcmp(r->method, methods[k].name))
				r->method_number = methods[k].method;
		if (!r->method_number)
			return wrong(c, "router", 0, "method", "method '%s': want wr, rd or bn",
				r->method);
	}
	if (r->name && !config_name_valid(r->name))
		return wrong(c, "router", 0, "name", "name '%s': " CONFIG_NAME_WANTED, r->name);
	if (r->buffer_bytes && !p2pnic_buffer_bytes_valid(*r->buffer_bytes))
		return wrong(c, "router", 0, "buffer_bytes",
			"buffer_bytes %u: want 2048, 4096 or 16384", *r->buffer_bytes);
	if (slots < P2PNIC_RING_SLOTS_MIN || slots > P2PNIC_RING_SLOTS_MAX || (slots & (slots - 1)))
		return wrong(c, "router", 0, "ring_slots",
			"ring_slots %u: want a power of two from %u to %u", slots,
			P2PNIC_RING_SLOTS_MIN, P2PNIC_RING_SLOTS_MAX);
	if (r->batch && (*r->batch == 0 || *r->batch > P2PNIC_BURST_MAX))
		return wrong(c, "router", 0, "batch", "batch %u: want 1 to %u", *r->batch,
			P2PNIC_BURST_MAX);
	if (r->rx_buffers && (*r->rx_buffers < 64 || *r->rx_buffers > 8192))
		return wrong(c, "router", 0, "rx_buffers", "rx_buffers %u: want 64 to 8192",
			*r->rx_buffers);
	if (r->table && strcmp(r->table, "state-jump") != 0 && strcmp(r->table, "line-trie") != 0)
		return wrong(c, "router", 0, "table", "table '%s': want line-trie or state-jump",
			r->table);
	if (check_memory(c, "packet_memory_mib", r->packet_memory_mib))
		return -EINVAL;
	return check_memory(c, "table_memory_mib", r->table_memory_mib);
}

static int check_nic(struct config *config, unsigned k, struct checker *c)
{
	struct config_nic *n = &config->nics[k];
	const unsigned *buffer_bytes = config->router->buffer_bytes;
	const unsigned mtu_max =
		P2PNIC_MTU_MAX(buffer_bytes ? *buffer_bytes : P2PNIC_BUFFER_BYTES_MAX);

	if (!config_name_valid(n->name))
		return wrong(c, "nics", k, "name", "name '%s': " CONFIG_NAME_WANTED, n->name);
	if (config_nic_index(config, n->name) != (int)k)
		return wrong(c, "nics", k, "name", "two NICs are named '%s'", n->name);
	if (n->mac && !mac_parse(n->mac, &n->mac_address))
		return wrong(c, "nics", k, "mac", "'%s' is no MAC address", n->mac);
	if (n->mac && (n->mac_address.octet[0] & 1))
		return wrong(c, "nics", k, "mac", "%s is a group address", n->mac);
	if (n->mtu && (*n->mtu < P2PNIC_MTU_MIN || *n->mtu > mtu_max))
		return wrong(c, "nics", k, "mtu", "mtu %u: want %u to %u%s", *n->mtu,
			P2PNIC_MTU_MIN, mtu_max,
			mtu_max < P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MAX)
				? ", or larger buffer_bytes"
				: "");
	if (n->engine && config->engines_count) {
		bool found = false;

		for (unsigned e = 0; e < config->engines_count; e++)
			found = found || !strcmp(config->engines[e].name, n->engine);
		if (!found)
			return wrong(c, "nics", k, "engine", "no engine is named '%s'", n->engine);
	} else if (n->engine && !config_name_valid(n->engine)) {
		return wrong(c, "nics", k, "engine", "engine '%s': want letters, digits, . _ -",
			n->engine);
	}
	n->address = calloc(n->addresses_count + 1, sizeof(*n->address));
	if (!n->address)
		return -ENOMEM;
	for (unsigned a = 0; a < n->addresses_count; a++)
		if (!prefix_parse(n->addresses[a], true, &n->address[a])) {
			c->item = a;
			return wrong(c, "nics", k, "addresses", "'%s' is no ADDRESS/LENGTH",
				n->addresses[a]);
		}
	return 0;
}

static int check_neighbor(struct config *config, unsigned k, struct checker *c)
{
	struct config_neighbor *n = &config->neighbors[k];
	int index = config_nic_index(config, n->nic);

	if (index < 0)
		return wrong(c, "neighbors", k, "nic", "no NIC is named '%s'", n->nic);
	n->nic_index = (unsigned)index;
	if (!address_parse(n->address, &n->ip))
		return wrong(c, "neighbors", k, "address", "'%s' is no address", n->address);
	if (!mac_parse(n->mac, &n->mac_address) || (n->mac_address.octet[0] & 1))
		return wrong(c, "neighbors", k, "mac", "'%s' is no station's MAC address", n->mac);
	return 0;
}

static int check_gateway(struct checker *c, unsigned k, const char *key, const char *text,
	unsigned family, struct address *gateway)
{
	if (!address_parse(text, gateway))
		return wrong(c, "routes", k, key, "'%s' is no address", text);
	if (gateway->family != family)
		return wrong(c, "routes", k, key, "gateway %s is of another family than the prefix",
			text);
	return 0;
}

static int check_route(struct config *config, unsigned k, struct checker *c)
{
	struct config_route *r = &config->routes[k];
	int error = 0;

	if (!prefix_parse(r->prefix, false, &r->destination))
		return wrong(c, "routes", k, "prefix",
			"'%s' is no PREFIX/LENGTH, or has bits beyond it", r->prefix);
	if (!!r->via + !!r->next_hops + !!r->action != 1)
		return wrong(c, "routes", k, NULL, "route %s: want one of via, next_hops, action",
			r->prefix);
	if (r->action && strcmp(r->action, "blackhole") != 0 &&
		strcmp(r->action, "unreachable") != 0 && strcmp(r->action, "prohibit") != 0)
		return wrong(c, "routes", k, "action",
			"action '%s': want blackhole, unreachable or prohibit", r->action);
	if (r->via)
		error = check_gateway(
			c, k, "via", r->via, r->destination.address.family, &r->gateway);
	for (unsigned h = 0; r->next_hops && h < r->next_hops_count && !error; h++) {
		struct config_next_hop *hop = &r->next_hops[h];

		c->item = h;
		error = check_gateway(
			c, k, "next_hops", hop->via, r->destination.address.family, &hop->gateway);
		if (!error && hop->weight && (*hop->weight == 0 || *hop->weight > 256))
			error = wrong(c, "routes", k, "next_hops", "weight %u: want 1 to 256",
				*hop->weight);
	}
	return error;
}

/* Whether there is such a file; what is in it is read when it is needed. */
static int check_route_file(struct config *config, unsigned k, struct checker *c)
{
	struct config_route_file *f = &config->route_files[k];
	const char *slash = *f->file == '/' ? NULL : strrchr(config->path, '/');
	struct stat is;

	f->gateway = calloc(f->via_count + 1, sizeof(*f->gateway));
	if (!f->gateway || asprintf(&f->path, "%.*s%s", slash ? (int)(slash + 1 - config->path) : 0,
				   config->path, f->file) < 0) {
		f->path = NULL;
		return -ENOMEM;
	}
	if (stat(f->path, &is) < 0 || access(f->path, R_OK) < 0)
		return wrong(c, "route_files", k, "file", "%.128s: %s", f->path, strerror(errno));
	if (!S_ISREG(is.st_mode))
		return wrong(c, "route_files", k, "file", "%.128s is no file", f->path);
	for (unsigned v = 0; v < f->via_count; v++)
		if (!address_parse(f->via[v], &f->gateway[v])) {
			c->item = v;
			return wrong(c, "route_files", k, "via", "'%s' is no address", f->via[v]);
		}
	return 0;
}

static int check(struct config *config, struct checker *c)
{
	int error = check_router(config, c);

	for (unsigned k = 0; k < config->engines_count && !error; k++) {
		const struct config_engine *e = &config->engines[k];

		if (!config_name_valid(e->name) || (e->process && !config_name_valid(e->process)))
			error = wrong(c, "engines", k, "name", "names: " CONFIG_NAME_WANTED);
		else if (e->core && (*e->core < 0 || *e->core >= sysconf(_SC_NPROCESSORS_CONF)))
			error = wrong(c, "engines", k, "core",
				"this machine has no core %d (it has 0 to %ld)", *e->core,
				sysconf(_SC_NPROCESSORS_CONF) - 1);
	}
	for (unsigned k = 0; k < config->nics_count && !error; k++)
		error = check_nic(config, k, c);
	for (unsigned k = 0; k < config->neighbors_count && !error; k++)
		error = check_neighbor(config, k, c);
	for (unsigned k = 0; k < config->routes_count && !error; k++)
		error = check_route(config, k, c);
	for (unsigned k = 0; k < config->route_files_count && !error; k++)
		error = check_route_file(config, k, c);
	return error;
}

static const cyaml_config_t free_config = {.mem_fn = cyaml_mem};

int config_load(struct config **out, const char *path, struct error *error)
{
	struct load_log log = {0};
	const cyaml_config_t load_config = {.log_fn = on_log,
		.log_ctx = &log,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR};
	struct checker checker = {.path = path, .error = error};
	struct config *config = NULL;
	cyaml_err_t failed;
	struct stat is;
	unsigned line;
	int result;

	error->text[0] = 0;
	if (stat(path, &is) < 0 || access(path, R_OK) < 0) {
		result = -errno;
		return error_set(error, result, "%s: %s", path, strerror(-result));
	}
	/* A FIFO would be waited for, and the file is read more than once. */
	if (!S_ISREG(is.st_mode))
		return error_set(error, -EINVAL, "%s: not a file", path);
	failed =
		cyaml_load_file(path, &load_config, &config_schema, (cyaml_data_t **)&config, NULL);
	if (failed != CYAML_OK) {
		const char *key = strncmp(log.reason, UNEXPECTED, strlen(UNEXPECTED))
					  ? NULL
					  : log.reason + strlen(UNEXPECTED);
		const struct place place = {.key = key, .from = log.line};

		line = syntax_line(path);
		/* For an unknown key libcyaml's line is that of what came before it. */
		if (!line && key)
			line = line_of(path, &place);
		if (!line)
			line = log.line ? log.line : 1;
		return error_set(error, -EINVAL, "%s:%u: %s", path, line,
			log.reason[0] ? log.reason : cyaml_strerror(failed));
	}
	if (!config)
		return error_set(error, -EINVAL, "%s:1: empty; want nics: at least", path);
	if (!config->router) {
		config->router = cyaml_mem(NULL, NULL, sizeof(*config->router));
		if (config->router)
			memset(config->router, 0, sizeof(*config->router));
	}
	config->path = strdup(path);
	line = syntax_line(path);
	result = config->router && config->path ? 0 : -ENOMEM;
	if (!result && line) {
		result = error_set(error, -EINVAL, "%s:%u: a zero byte in a text", path, line);
	}
	if (!result)
		result = check(config, &checker);
	if (!result)
		result = config_defaults(config);
	if (result) {
		if (!error->text[0])
			error_set(error, result, "%s: %s", path, strerror(-result));
		config_free(config);
		return result;
	}
	*out = config;
	return 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (unsigned k = 0; k < config->nics_count; k++)
		free(config->nics[k].address);
	for (unsigned k = 0; k < config->route_files_count; k++) {
		free(config->route_files[k].path);
		free(config->route_files[k].gateway);
	}
	free(config->path);
	cyaml_free(&free_config, &config_schema, config, 0);
}

/* Strings are libcyaml's to free: cyaml_mem is realloc and free. */
static int replace_text(char **text, const char *new)
{
	char *copy = new ? strdup(new) : NULL;

	if (new && !copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

int config_replace_ports(struct config *config, const struct config_port *port, const char *engine,
	const char *runtime)
{
	int error = replace_text(&config->router->runtime, runtime);

	for (unsigned k = 0; k < config->nics_count && !error; k++) {
		struct config_nic *n = &config->nics[k];

		error = replace_text(&n->port.type, port[k].type);
		if (!error)
			error = replace_text(&n->port.target, port[k].target);
		if (!error)
			error = replace_text(&n->port.options, port[k].options);
		if (!error)
			error = replace_text(&n->engine, engine);
	}
	return error;
}

void runtime_of_name(const char *name, char *path, size_t bytes)
{
	const char *user = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(path, bytes, "/run/p2pnic/%s", name);
	else if (user && *user)
		snprintf(path, bytes, "%s/p2pnic/%s", user, name);
	else
		snprintf(path, bytes, "/tmp/p2pnic-%u/%s", geteuid(), name);
}

void config_runtime(const struct config *config, char *path, size_t bytes)
{
	if (config->router->runtime)
		snprintf(path, bytes, "%s", config->router->runtime);
	else
		runtime_of_name(config->router->name, path, bytes);
}

unsigned config_route_file_line(const struct config *config, unsigned index)
{
	return line_of(config->path, &(const struct place){"route_files", index, "file", 0, 0});
}

int config_nic_index(const struct config *config, const char *name)
{
	for (unsigned k = 0; k < config->nics_count; k++)
		if (!strcmp(config->nics[k].name, name))
			return (int)k;
	return -1;
}
