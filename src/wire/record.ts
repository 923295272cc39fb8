/**
 * The packet record: what the decoder says about one packet, as PACKET_WORDS int32 words.
 *
 *   word   name                             meaning
 *   0      PACKET_STATUS                    DECODE_*; the other words mean something only if it is DECODE_OK
 *   1      PACKET_FLAGS                     FLAG_* bits
 *   2      PACKET_PROTOCOL                  IP protocol number, behind the IPv6 extension headers
 *   3      PACKET_SRC_PORT                  source port, or ICMP type; valid with FLAG_L4_PORTS, else 0
 *   4      PACKET_DST_PORT                  destination port, or ICMP code; valid with FLAG_L4_PORTS, else 0
 *   5-8    PACKET_SRC                       source address: IPv4 in word 5 (10.0.0.1 is 0x0a000001, words 6-8 are 0),
 *                                           IPv6 most significant word first
 *   9-12   PACKET_DST                       destination address, same form
 *   13     PACKET_TCP_FLAGS                 flag byte of TCP (TCP_*), else 0
 *   14     PACKET_TCP_SEQ             (TCP) sequence number (as int32); 0 if not captured
 *   15     PACKET_TCP_ACK             (TCP) acknowledgement number (as int32); 0 if not captured
 *   16     PACKET_TCP_WINDOW          (TCP) window before scaling; 0 if not captured
 *   17     PACKET_TRANSPORT_HEADER_BYTES    TCP data offset in bytes; UDP 8, ICMP 8, SCTP 12; other protocols 0
 *   18     PACKET_IP_ID                     IPv4 identification; IPv6 identification of the fragment header, or 0
 *   19     PACKET_FRAGMENT_OFFSET_BYTES     place of this fragment in its datagram, in bytes
 *   20     PACKET_IP_OFFSET                 where the IP header starts, in the view given to the decoder
 *   21     PACKET_TRANSPORT_OFFSET          where the transport header starts (a later fragment: its data)
 *   22     PACKET_TRANSPORT_BYTES           transport header and data as the IP header declares them
 *   23     PACKET_TRANSPORT_CAPTURED_BYTES  how many of these are in the view
 *   24     PACKET_IP_TOTAL_BYTES            IP header and all behind it, as declared (a 0 of segmentation offload is
 *                                           replaced by what the frame holds)
 *   25     PACKET_VLAN_ID                   id of the innermost 802.1Q tag, NO_VLAN without one
 *   26     PACKET_OUTER_VLAN_ID      (VLAN) id of the outermost of several tags, else NO_VLAN
 *   27     PACKET_ICMP_ID            (ICMP) bytes 4-5 of the message (identifier of echo); 0 if not captured
 *   28     PACKET_FRAGMENT_DATA_OFFSET  (F)  where the part to reassemble starts (IPv4: behind the header; IPv6: behind
 *                                           the fragment header)
 *   29     PACKET_FRAGMENT_DATA_BYTES   (F)  its declared length
 *   30     PACKET_FRAGMENT_PROTOCOL     (F)  its protocol (IPv6: next header of the fragment header, which may be a
 *                                           further extension header)
 *   31     (unused)                         keeps a record at two cache lines of 64 bytes
 *
 * Words with a mark keep an older packet's value unless the record is one of (TCP) protocol 6, (ICMP) protocol 1 or 58,
 * (VLAN) PACKET_VLAN_ID is not NO_VLAN, (F) FLAG_FRAGMENT: the stores that this saves are a tenth of the decoder.
 *
 * Ports, lengths and ids are plain numbers; they were read in network byte order.
 */

export const PACKET_WORDS = 32;

export const PACKET_STATUS = 0;
export const PACKET_FLAGS = 1;
export const PACKET_PROTOCOL = 2;
export const PACKET_SRC_PORT = 3;
export const PACKET_ICMP_TYPE = 3;
export const PACKET_DST_PORT = 4;
export const PACKET_ICMP_CODE = 4;
export const PACKET_SRC = 5;
export const PACKET_DST = 9;
export const PACKET_TCP_FLAGS = 13;
export const PACKET_TCP_SEQ = 14;
export const PACKET_TCP_ACK = 15;
export const PACKET_TCP_WINDOW = 16;
export const PACKET_TRANSPORT_HEADER_BYTES = 17;
export const PACKET_IP_ID = 18;
export const PACKET_FRAGMENT_OFFSET_BYTES = 19;
export const PACKET_IP_OFFSET = 20;
export const PACKET_TRANSPORT_OFFSET = 21;
export const PACKET_TRANSPORT_BYTES = 22;
export const PACKET_TRANSPORT_CAPTURED_BYTES = 23;
export const PACKET_IP_TOTAL_BYTES = 24;
export const PACKET_VLAN_ID = 25;
export const PACKET_OUTER_VLAN_ID = 26;
export const PACKET_ICMP_ID = 27;
export const PACKET_FRAGMENT_DATA_OFFSET = 28;
export const PACKET_FRAGMENT_DATA_BYTES = 29;
export const PACKET_FRAGMENT_PROTOCOL = 30;

export const NO_VLAN = -1;

/** Decode statuses. Every packet has exactly one; all but DECODE_OK are the `undecoded` reasons of the records. */
export const DECODE_OK = 0;
/** An ARP frame. */
export const DECODE_ARP = 1;
/** A frame that carries neither IPv4 nor IPv6 nor ARP: LLC, MPLS, PPPoE and so on. */
export const DECODE_OTHER_ETHERTYPE = 2;
/** A link type that this decoder does not know. */
export const DECODE_UNSUPPORTED_LINK_TYPE = 3;
/** The capture kept so few bytes of the frame that an address is unreadable. */
export const DECODE_TRUNCATED = 4;
/** A frame that no IP stack accepts: too short on the wire, wrong version, impossible header length. */
export const DECODE_MALFORMED = 5;
export const DECODE_STATUS_COUNT = 6;

/** Names of the statuses, in their order, as the records print them. */
export const DECODE_STATUS_NAMES: readonly string[] = [
  'ok',
  'arp',
  'other-ethertype',
  'unsupported-link-type',
  'truncated',
  'malformed',
];

/** The addresses are IPv6. */
export const FLAG_IPV6 = 1 << 0;
/** A fragment of a larger datagram. An IPv6 "atomic" fragment (offset 0, no more to come; RFC 6946) is whole, not one. */
export const FLAG_FRAGMENT = 1 << 1;
/** A fragment that others follow. */
export const FLAG_MORE_FRAGMENTS = 1 << 2;
/** The fragment at offset 0, which carries the transport header. */
export const FLAG_FIRST_FRAGMENT = 1 << 3;
/** The ports, or ICMP type and code, were read. */
export const FLAG_L4_PORTS = 1 << 4;
/**
 * The fixed part of the transport header (TCP 20 bytes, UDP 8, ICMP 8, SCTP 12) is not all there, because the capture
 * cut the packet or the first fragment is tiny. FLAG_L4_PORTS says whether ports were read nevertheless.
 */
export const FLAG_L4_TRUNCATED = 1 << 5;
/**
 * The datagram itself is wrong behind the addresses: shorter than its transport header, a TCP or UDP length field that
 * contradicts it, an IPv6 extension header past its end. Linux connection tracking calls it INVALID.
 */
export const FLAG_L4_INVALID = 1 << 6;
/** The capture ends inside the IPv6 extension headers: PACKET_PROTOCOL is that of the last header that could be named. */
export const FLAG_PROTOCOL_UNKNOWN = 1 << 7;
/** The IPv4 header has options. */
export const FLAG_IP_OPTIONS = 1 << 8;
/** The frame goes on behind the IP datagram (Ethernet padding, trailers). */
export const FLAG_PADDING = 1 << 9;
/**
 * The IP header declares more bytes than the frame had on the wire. Linux drops such a packet on arrival
 * (ip_rcv, InTruncatedPkts); in a capture it more often comes from a tool that lost the original length.
 */
export const FLAG_IP_LENGTH_EXCEEDS_FRAME = 1 << 10;
/** The total length was 0 (segmentation offload, BIG TCP); the length of the frame was used instead. */
export const FLAG_LENGTH_FROM_FRAME = 1 << 11;
/** IPv6 extension headers are present. */
export const FLAG_EXTENSION_HEADERS = 1 << 12;

/** What a row of plain-tracked.ts is; bits that a flow line (conntrack/flows.ts) has too. */
export const TRAIT_IPV6 = 1 << 3;
export const TRAIT_TCP = 1 << 4;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;

/** IP protocol numbers that the decoder knows more about than the number (IANA protocol-numbers). */
export const PROTOCOL_HOP_BY_HOP = 0;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPV4 = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_ROUTING = 43;
export const PROTOCOL_FRAGMENT = 44;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_AH = 51;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_NO_NEXT_HEADER = 59;
export const PROTOCOL_DESTINATION_OPTIONS = 60;
export const PROTOCOL_SCTP = 132;
export const PROTOCOL_UDP_LITE = 136;
