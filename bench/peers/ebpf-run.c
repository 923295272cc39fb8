/* Loads ebpf-policy.o and runs it by BPF_PROG_TEST_RUN: the kernel runs the program many times over and tells the mean.
 *
 * Build: cc -O2 ebpf-run.c -lbpf      Usage: ebpf-run OBJECT MEMBERS TUPLES
 * MEMBERS: rows of little-endian words `set, address`; TUPLES: rows `protocol, source, destination, source port, destination port`.
 * Prints {"ready":…,"loadMs":…} when the maps are full; then for each line read:
 *   run COUNT     {"ns": one packet's policy, "emptyNs": one packet's draw}
 *   check COUNT   {"hits","sum"} of the first COUNT tuples in turn, `sum` adding index + 1 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { MEMBER_WORDS = 2, TUPLE_WORDS = 5 };

static void fail(const char *what) {
  fprintf(stderr, "ebpf-run: %s\n", what);
  exit(1);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
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

/* Mean time in ns of `repeat` runs; the value that the program returned last. */
static uint32_t run(int program, uint32_t mark, int repeat, double *ns) {
  static char frame[64], out[64];
  struct __sk_buff context = {.mark = mark};
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof frame, .data_out = out,
              .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context, .repeat = repeat);
  if (bpf_prog_test_run_opts(program, &options) != 0) fail("the kernel refuses BPF_PROG_TEST_RUN");
  *ns = options.duration;
  return options.retval;
}

static int fd_of(struct bpf_object *object, const char *name) {
  struct bpf_program *program = bpf_object__find_program_by_name(object, name);
  return program == NULL ? -1 : bpf_program__fd(program);
}

int main(int argc, char **argv) {
  if (argc != 4) fail("usage: ebpf-run OBJECT MEMBERS TUPLES");
  struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
  if (object == NULL || bpf_object__load(object) != 0) fail("the kernel does not load the program");
  int sets = bpf_object__find_map_fd_by_name(object, "sets");
  int table = bpf_object__find_map_fd_by_name(object, "tuples");
  size_t count;
  double start = now_ms();
  uint32_t *members = read_words(argv[2], &count);
  for (size_t i = 0; i < count / MEMBER_WORDS; i++) {
    uint32_t key[3] = {64, members[i * MEMBER_WORDS], htonl(members[i * MEMBER_WORDS + 1])}, one = 1;
    if (bpf_map_update_elem(sets, key, &one, BPF_ANY) != 0) fail("the map of sets is full");
  }
  double load_ms = now_ms() - start;
  uint32_t *tuples = read_words(argv[3], &count);
  for (uint32_t i = 0; i < count / TUPLE_WORDS; i++) {
    uint32_t *from = tuples + i * TUPLE_WORDS;
    struct { uint32_t src, dst; uint16_t src_port, dst_port; uint32_t protocol; } value =
        {htonl(from[1]), htonl(from[2]), from[3], from[4], from[0]};
    if (bpf_map_update_elem(table, &i, &value, BPF_ANY) != 0) fail("the table of tuples is full");
  }
  int policy = fd_of(object, "policy"), empty = fd_of(object, "empty");
  double ns, empty_ns;
  run(policy, 0, 1, &ns);
  printf("{\"ready\":true,\"loadMs\":%.3f}\n", load_ms);
  fflush(stdout);
  char line[100];
  while (fgets(line, sizeof line, stdin) != NULL) {
    unsigned repeat;
    if (sscanf(line, "run %u", &repeat) == 1) {
      run(empty, 0, repeat, &empty_ns);
      run(policy, 0, repeat, &ns);
      printf("{\"ns\":%.0f,\"emptyNs\":%.0f}\n", ns - empty_ns, empty_ns);
    } else if (sscanf(line, "check %u", &repeat) == 1) {
      uint64_t hits = 0, sum = 0;
      for (uint32_t i = 0; i < repeat; i++) {
        uint32_t rule = run(policy, i + 1, 1, &ns);
        hits += rule != 0;
        sum += rule;
      }
      printf("{\"hits\":%lu,\"sum\":%lu}\n", hits, sum);
    } else fail("say: run COUNT, or check COUNT");
    fflush(stdout);
  }
  return 0;
}
