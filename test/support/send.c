/*
 * Sends UDP frames on an interface at a steady rate, and says how many the kernel took.
 *
 *   send INTERFACE PACKETS PER_SECOND FLOWS BYTES
 *
 * INTERFACE - writes a capture to standard output instead: SYNs from addresses and ports that are made up.
 *
 * Frame i has source port 1024 + i % FLOWS, IP id i, and i in its data, 10.0.0.1 > 10.0.0.2:80. PER_SECOND 0 = as fast as it goes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <errno.h>

#define BATCH 64

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static uint16_t checksum(const uint8_t *bytes, int count) {
  uint32_t sum = 0;
  for (int i = 0; i < count; i += 2) sum += bytes[i] << 8 | bytes[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void put16(uint8_t *at, uint16_t value) { at[0] = value >> 8; at[1] = value; }
static void put32(uint8_t *at, uint32_t value) { put16(at, value >> 16); put16(at + 2, value); }

static void frame(uint8_t *f, int bytes, uint64_t i, int flows) {
  memset(f, 0, bytes);
  memcpy(f, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
  f[14] = 0x45;
  put16(f + 16, bytes - 14);
  put16(f + 18, i);
  f[22] = 64;
  f[23] = 17;
  put32(f + 26, 0x0a000001);
  put32(f + 30, 0x0a000002);
  put16(f + 24, checksum(f + 14, 20));
  put16(f + 34, 1024 + i % flows);
  put16(f + 36, 80);
  put16(f + 38, bytes - 34);
  put32(f + 42, i);
}

/* xorshift64 */
static uint64_t random64(void) {
  static uint64_t x = 88172645463325252ull;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

static int flood(uint64_t total) {
  static uint8_t out[16 + 54];
  uint32_t header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 262144, 1};
  fwrite(header, 1, sizeof header, stdout);
  for (uint64_t i = 0; i < total; i++) {
    uint32_t record[4] = {1700000000 + i / 100000, i % 100000 * 10, 54, 54};
    memcpy(out, record, 16);
    frame(out + 16, 54, i, 1);
    uint64_t r = random64();
    out[16 + 23] = 6;
    put32(out + 16 + 26, r);
    put16(out + 16 + 34, r >> 32);
    put32(out + 16 + 38, r >> 32);
    put32(out + 16 + 42, 0);
    out[16 + 46] = 0x50;
    out[16 + 47] = 0x02;
    fwrite(out, 1, sizeof out, stdout);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  if (strcmp(argv[1], "-") == 0) return flood(strtoull(argv[2], 0, 10));
  uint64_t total = strtoull(argv[2], 0, 10), sent = 0, next = 0;
  double rate = atof(argv[3]);
  int flows = atoi(argv[4]), bytes = atoi(argv[5]);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
  int s = socket(AF_PACKET, SOCK_RAW, 0);
  if (s < 0 || bind(s, (struct sockaddr *)&to, sizeof to) < 0) { perror(argv[1]); return 1; }
  static uint8_t frames[BATCH][2048];
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH];
  memset(messages, 0, sizeof messages);
  for (int k = 0; k < BATCH; k++) {
    parts[k] = (struct iovec){frames[k], bytes};
    messages[k].msg_hdr.msg_iov = &parts[k];
    messages[k].msg_hdr.msg_iovlen = 1;
  }
  double start = now();
  while (next < total) {
    uint64_t due = rate > 0 ? (uint64_t)((now() - start) * rate) : total;
    if (due > total) due = total;
    if (due <= next) { usleep(200); continue; }
    int count = due - next < BATCH ? due - next : BATCH;
    for (int k = 0; k < count; k++) frame(frames[k], bytes, next + k, flows);
    for (int k = 0; k < count;) {
      int n = sendmmsg(s, messages + k, count - k, 0);
      if (n < 0 && (errno == ENOBUFS || errno == EAGAIN)) { usleep(100); continue; }
      if (n < 0) { k++; continue; } /* the interface is down: this one is not sent */
      k += n;
      sent += n;
    }
    next += count;
  }
  printf("%llu %.3f\n", (unsigned long long)sent, now() - start);
  return 0;
}
