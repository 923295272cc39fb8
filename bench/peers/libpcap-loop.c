/* Reads a capture with libpcap and takes the five-tuple of each IPv4 packet: the least that any program on libpcap does.
 * Build: cc -O3 -march=native libpcap-loop.c -lpcap      Usage: libpcap-loop FILE */
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t packets, sum;

static void take(u_char *user, const struct pcap_pkthdr *header, const u_char *frame) {
  uint32_t addresses[2], ports;
  (void)user;
  packets++;
  if (header->caplen < 38 || frame[12] != 8 || frame[13] != 0) return;
  memcpy(addresses, frame + 26, 8);
  memcpy(&ports, frame + 14 + (frame[14] & 15) * 4, 4);
  sum += addresses[0] ^ addresses[1] ^ ports ^ frame[23];
}

int main(int argc, char **argv) {
  char error[PCAP_ERRBUF_SIZE];
  pcap_t *capture = argc == 2 ? pcap_open_offline(argv[1], error) : NULL;
  if (capture == NULL) {
    fprintf(stderr, "libpcap-loop: %s\n", argc == 2 ? error : "usage: libpcap-loop FILE");
    return 1;
  }
  if (pcap_loop(capture, -1, take, NULL) < 0) {
    fprintf(stderr, "libpcap-loop: %s\n", pcap_geterr(capture));
    return 1;
  }
  printf("{\"packets\":%lu,\"sum\":%lu}\n", packets, sum);
  return 0;
}
