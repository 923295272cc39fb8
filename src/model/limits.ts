/** Every capacity of the program in one place: value, unit, reason. Past one: a clear error, never a wrong answer. */

/** Bytes of one YAML file: it is read as a whole, at about 2 MB/s. */
export const YAML_BYTES_MAX = 64 * 1024 * 1024;

/** Bytes of one JSON file: it is cut into objects on the way, so that only time limits it. */
export const JSON_BYTES_MAX = 4 * 1024 * 1024 * 1024;

/** Bytes of one object inside a JSON file. etcd refuses objects over 1.5 MiB; a dump of all its objects is no object. */
export const JSON_OBJECT_BYTES_MAX = 64 * 1024 * 1024;

/** Levels of lists and objects in one document. Kubernetes' own kinds stay under 20. */
export const DOCUMENT_DEPTH_MAX = 64;

/** Values in the YAML documents of one file, those that aliases repeat counted each time. */
export const YAML_NODES_MAX = 5_000_000;

/** Tokens (white space counts) of one YAML document: its syntax tree takes 0.3 GB a million. */
export const YAML_TOKENS_MAX = 10_000_000;

/** Aliases in one YAML document. */
export const YAML_ALIASES_MAX = 10_000;

/** Pods made for workloads of an input without pods; their addresses come from 198.18.0.0/15. */
export const SYNTHETIC_PODS_MAX = 100_000;

/** Pairs of a way to be a source and a way to be a destination, by IP version: two words each, 64 MiB. A thousand accounts on either side are one million. */
export const PAIRS_MAX = 8_388_608;

/** Words of port functions that say what two checks decide together, by IP version: 16 MiB. */
export const PAIR_FUNCTION_WORDS_MAX = 4_194_304;

/** Bytes of the tables that WebAssembly's loops run over; past them the script's loops run over the tables as they are. */
export const WASM_BYTES_MAX = 64 * 1024 * 1024;
