/* DPDK's packet classifier on the bench's rules, with each of its algorithms.
 *
 * Build: cc -O3 -march=native rte-acl.c $(pkg-config --cflags --libs libdpdk) -lpcap
 * Usage: rte-acl EAL-ARGUMENTS -- match RULES TUPLES     five-tuples are in memory: the classifier alone
 *        rte-acl EAL-ARGUMENTS -- pcap RULES CAPTURE     libpcap reads the capture, then the classifier
 *
 * RULES and TUPLES are little-endian 32-bit words written by bench/peers/rte-acl.ts, in rows of 8 and 5:
 *   rule   protocol, source, its prefix length, destination, its prefix length, low port, high port, index
 *   tuple  protocol, source, destination, source port, destination port
 * Prints {"ready":…} with the build time and the algorithms of this machine; then for each line `run ALGORITHM [COUNT]` read, one
 * pass over all (or the first COUNT) packets: {"algorithm","ns","cpuNs","packets","hits","sum"}. `sum` adds index + 1 of each hit. */
#include <arpa/inet.h>
#include <pcap/pcap.h>
#include <rte_acl.h>
#include <rte_eal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BURST = 256, RULE_WORDS = 8, TUPLE_WORDS = 5 };

/* What the classifier reads, in network byte order. The first field must be one byte, the others whole words. */
struct key {
  uint8_t protocol, unused[3];
  uint32_t src, dst;
  uint16_t src_port, dst_port;
};

static struct rte_acl_field_def fields[5] = {
  {RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, offsetof(struct key, protocol)},
  {RTE_ACL_FIELD_TYPE_MASK, 4, 1, 1, offsetof(struct key, src)},
  {RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, offsetof(struct key, dst)},
  {RTE_ACL_FIELD_TYPE_RANGE, 2, 3, 3, offsetof(struct key, src_port)},
  {RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 3, offsetof(struct key, dst_port)},
};
RTE_ACL_RULE_DEF(rule, 5);

static const struct { const char *name; enum rte_acl_classify_alg number; } algorithms[] = {
  {"scalar", RTE_ACL_CLASSIFY_SCALAR}, {"sse", RTE_ACL_CLASSIFY_SSE}, {"avx2", RTE_ACL_CLASSIFY_AVX2},
  {"avx512x16", RTE_ACL_CLASSIFY_AVX512X16}, {"avx512x32", RTE_ACL_CLASSIFY_AVX512X32},
};
enum { ALGORITHMS = sizeof algorithms / sizeof *algorithms };

static struct rte_acl_ctx *acl;
static struct key keys[BURST];
static const uint8_t *burst[BURST];
static uint32_t results[BURST];
static uint64_t packets, packets_max, hits, sum;
static unsigned held;

static void fail(const char *what) {
  fprintf(stderr, "rte-acl: %s\n", what);
  exit(1);
}

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static uint32_t *read_words(const char *path, size_t *count) {
  struct stat info;
  FILE *file = fopen(path, "rb");
  if (file == NULL || fstat(fileno(file), &info) != 0) fail(path);
  uint32_t *words = malloc(info.st_size);
  if (fread(words, 1, info.st_size, file) != (size_t)info.st_size) fail(path);
  fclose(file);
  *count = info.st_size / 4;
  return words;
}

/* Earlier rules have higher priority. The expanded form of a rule is several entries of one index. */
static double build(const char *path) {
  size_t words;
  uint32_t *from = read_words(path, &words);
  uint32_t count = words / RULE_WORDS;
  struct rte_acl_param param = {.name = "bench", .socket_id = 0, .rule_size = RTE_ACL_RULE_SZ(5), .max_rule_num = count};
  struct rte_acl_config config = {.num_categories = 1, .num_fields = 5};
  double start = now(CLOCK_MONOTONIC);
  acl = rte_acl_create(&param);
  if (acl == NULL) fail("no memory for the rules");
  for (uint32_t i = 0; i < count; i++) {
    uint32_t *word = from + (size_t)i * RULE_WORDS;
    struct rule entry = {.data = {.category_mask = 1, .priority = RTE_ACL_MAX_PRIORITY - word[7], .userdata = word[7] + 1}};
    entry.field[0] = (struct rte_acl_field){.value.u8 = word[0], .mask_range.u8 = 0xff};
    entry.field[1] = (struct rte_acl_field){.value.u32 = word[1], .mask_range.u32 = word[2]};
    entry.field[2] = (struct rte_acl_field){.value.u32 = word[3], .mask_range.u32 = word[4]};
    entry.field[3] = (struct rte_acl_field){.value.u16 = 0, .mask_range.u16 = 0xffff};
    entry.field[4] = (struct rte_acl_field){.value.u16 = word[5], .mask_range.u16 = word[6]};
    if (rte_acl_add_rules(acl, (struct rte_acl_rule *)&entry, 1) != 0) fail("a rule was refused");
  }
  memcpy(config.defs, fields, sizeof fields);
  if (rte_acl_build(acl, &config) != 0) fail("the rules do not fit: raise -m");
  free(from);
  return now(CLOCK_MONOTONIC) - start;
}

static void classify(const uint8_t **data, unsigned count) {
  rte_acl_classify(acl, data, results, count, 1);
  for (unsigned i = 0; i < count; i++) {
    hits += results[i] != 0;
    sum += results[i];
  }
  packets += count;
}

static void take(u_char *capture, const struct pcap_pkthdr *header, const u_char *frame) {
  struct key *key = keys + held;
  if (header->caplen < 38 || frame[12] != 8 || frame[13] != 0) return;
  key->protocol = frame[23];
  memcpy(&key->src, frame + 26, 8);
  memcpy(&key->src_port, frame + 14 + (frame[14] & 15) * 4, 4);
  if (++held < BURST) return;
  classify(burst, BURST);
  held = 0;
  if (packets >= packets_max) pcap_breakloop((pcap_t *)capture);
}

static void run_pcap(const char *path) {
  char error[PCAP_ERRBUF_SIZE];
  pcap_t *capture = pcap_open_offline(path, error);
  if (capture == NULL) fail(error);
  for (unsigned i = 0; i < BURST; i++) burst[i] = (uint8_t *)(keys + i);
  held = 0;
  pcap_loop(capture, -1, take, (u_char *)capture);
  if (held > 0 && packets < packets_max) classify(burst, held);
  pcap_close(capture);
}

static void run_match(const struct key *all, size_t count) {
  if (count > packets_max) count = packets_max;
  for (size_t at = 0; at < count; at += BURST) {
    unsigned size = count - at < BURST ? count - at : BURST;
    for (unsigned i = 0; i < size; i++) burst[i] = (const uint8_t *)(all + at + i);
    classify(burst, size);
  }
}

int main(int argc, char **argv) {
  int used = rte_eal_init(argc, argv);
  if (used < 0 || argc - used != 4) fail("usage: rte-acl EAL-ARGUMENTS -- match|pcap RULES FILE");
  const char *mode = argv[used + 1], *file = argv[used + 3];
  double build_ns = build(argv[used + 2]);
  struct key *all = NULL;
  size_t count = 0;
  if (strcmp(mode, "match") == 0) {
    uint32_t *words = read_words(file, &count);
    count /= TUPLE_WORDS;
    all = aligned_alloc(64, (count * sizeof *all + 63) / 64 * 64);
    for (size_t i = 0; i < count; i++) {
      uint32_t *w = words + i * TUPLE_WORDS;
      all[i] = (struct key){.protocol = w[0], .src = htonl(w[1]), .dst = htonl(w[2]), .src_port = htons(w[3]), .dst_port = htons(w[4])};
    }
    free(words);
  }
  printf("{\"ready\":true,\"buildMs\":%.3f,\"algorithms\":[", build_ns / 1e6);
  const char *comma = "";
  for (int i = 0; i < ALGORITHMS; i++) {
    if (rte_acl_set_ctx_classify(acl, algorithms[i].number) != 0) continue;
    printf("%s\"%s\"", comma, algorithms[i].name);
    comma = ",";
  }
  printf("]}\n");
  fflush(stdout);
  char line[100], name[40];
  while (fgets(line, sizeof line, stdin) != NULL) {
    packets_max = UINT64_MAX;
    packets = hits = sum = 0;
    if (sscanf(line, "run %39s %lu", name, &packets_max) < 1) fail("say: run ALGORITHM [COUNT]");
    for (int i = 0; i < ALGORITHMS; i++)
      if (strcmp(name, algorithms[i].name) == 0 && rte_acl_set_ctx_classify(acl, algorithms[i].number) != 0) fail(name);
    double start = now(CLOCK_MONOTONIC), cpu_start = now(CLOCK_PROCESS_CPUTIME_ID);
    if (all == NULL) run_pcap(file);
    else run_match(all, count);
    double ns = now(CLOCK_MONOTONIC) - start, cpu_ns = now(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
    printf("{\"algorithm\":\"%s\",\"ns\":%.0f,\"cpuNs\":%.0f,\"packets\":%lu,\"hits\":%lu,\"sum\":%lu}\n", name, ns, cpu_ns, packets, hits, sum);
    fflush(stdout);
  }
  return 0;
}
