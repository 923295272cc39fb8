/** Names of rows, as results, figures and stored results have them. Changing one loses the comparison with what is stored. */
import type { Form } from './replay.ts';

/** The peers. */
export const BARE = 'bare readSync of the file';
export const TCPDUMP_READING = 'tcpdump -w /dev/null arp';
export const TCPDUMP_COPYING = 'tcpdump -w /dev/null';
export const LIBPCAP = 'libpcap loop in C';
export const LIBPCAP_ACL = 'libpcap and rte_acl, sets expanded, best SIMD';
export const ACL_CLASSES = 'rte_acl, class ids given, best SIMD';
export const ACL_EXPANDED = 'rte_acl, sets expanded, best SIMD';
export const EBPF = 'eBPF, one endpoint as in Calico';
export const IPTABLES_LOAD = 'ipset restore and iptables-restore';
export const NFT_LOAD = 'nft -f';
export const IPSET_ELEMENT = 'ipset restore, one element of many';
export const TSHARK = 'tshark -Y tcp.dstport==80';

/** Ours. */
export const replayName = (form: Form, isTracked: boolean, workers = 1): string =>
  `replay${isTracked ? ' with connection tracking' : ''}${workers > 1 ? ` by ${workers} workers` : ''}, ${form}`;
export const matchName = (form: Form): string => `match with address lookups, ${form}`;
export const OBJECTS_TO_TABLES = 'objects to tables';
export const TEXT_TO_TABLES = 'JSON text to tables that answer';
export const TABLES = 'tables';
export const ADDRESS_MOVED = 'one address to another owner, seen by all threads';
export const ADDRESS_PUBLISHED = 'one new address, published';
/** The same as the agent does it, to the tables of a capture process. */
export const byAgent = (name: string): string => `${name}, by the agent`;
export const LABELS_PUBLISHED = 'labels of a service account, published';
export const DUMP_SECONDS = 'kubectl dump and policies, start to end';
export const RESIDENT = 'largest resident set';
export const heapName = (form: Form, isTracked: boolean): string =>
  `allocated in the packet loop${isTracked ? ', with connection tracking' : ''}, ${form}`;
export const EVAL_SECONDS = 'eval of 100 000 flows, 1 000 pods, 200 policies';
export const LESSON = 'replay of a lesson, start to end';

/** The same in time of processors. */
export const cpuName = (name: string): string => `${name} (CPU time)`;

/** Theirs over ours. */
export const over = (peer: string, ours: string): string => `${peer} : ${ours}`;
