/* The rules of one endpoint as Calico's eBPF dataplane has them: a straight line, one rule after the other, each with its test of
 * the protocol, its lookup of the source in an LPM trie that holds all IP sets, and its ports. The value returned is the number of the
 * first rule that matches, plus 1; 0 if none does.
 *
 * A packet's tuple is drawn at random from a table, so that neither branches nor caches learn one packet by heart. Program `empty`
 * draws as well and does nothing else: its time is subtracted. A mark chooses the tuple instead, for the check against the
 * naive reference.
 *
 * rules.h, beside the object, is written by bench/peers/ebpf.ts: a line `RULE(number, protocol, set, low, high)` each.
 * Build: clang -O2 -g -target bpf -I FOLDER-OF-RULES -c ebpf-policy.c */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum { TUPLES = 65536 };

struct tuple {
  __u32 src, dst;
  __u16 src_port, dst_port;
  __u32 protocol;
};

/* As in Calico, the set's number comes first, so a lookup can only meet members of its own set. */
struct set_key {
  __u32 prefix_bits;
  __u32 set;
  __u32 address;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TUPLES);
  __type(key, __u32);
  __type(value, struct tuple);
} tuples SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1 << 20);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct set_key);
  __type(value, __u32);
} sets SEC(".maps");

static __always_inline struct tuple *draw(struct __sk_buff *packet) {
  __u32 index = packet->mark != 0 ? packet->mark - 1 : bpf_get_prandom_u32() & (TUPLES - 1);
  return bpf_map_lookup_elem(&tuples, &index);
}

static __always_inline int is_member(__u32 set, __u32 address) {
  struct set_key key = {64, set, address};
  return bpf_map_lookup_elem(&sets, &key) != 0;
}

#define RULE(number, wanted, set, low, high)                                                            \
  if (tuple->protocol == wanted && is_member(set, tuple->src) && tuple->dst_port >= low && tuple->dst_port <= high) \
    return number + 1;

SEC("tc")
int policy(struct __sk_buff *packet) {
  struct tuple *tuple = draw(packet);
  if (tuple == 0) return 0;
#include "rules.h"
  return 0;
}

SEC("tc")
int empty(struct __sk_buff *packet) {
  struct tuple *tuple = draw(packet);
  return tuple == 0 ? 0 : tuple->dst_port;
}

char granted[] SEC("license") = "GPL";
