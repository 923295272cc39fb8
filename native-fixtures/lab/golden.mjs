/**
 * From a lesson's attempts, whose verdicts people reasoned out, to expected.jsonl: one line a connection, in the order of first packets.
 *
 * Nothing here judges. The lesson says what Calico decides and why; the capture adds how many packets each connection has. What is
 * checked: every packet belongs to exactly one attempt, attempts appear in the lesson's order, each went as the lesson says it would
 * (answered, refused, silent), and the table of verdicts is consistent in itself.
 */

const ICMP_ECHO_REQUEST = { icmp: 8, icmpv6: 128 };

/**
 * @param attempts  resolved attempts of the lesson (record.mjs), each with `proto`, `src`, `dst`, `port`, `id`, and the reasoned `expect`
 * @param packets   of `readCapture`
 * @returns {{ lines: object[], arpCount: number }}
 * @throws Error naming the attempt or packet that does not fit
 */
export function expectedLines(attempts, packets) {
  const byKey = new Map(attempts.map((attempt) => [attemptKey(attempt), { attempt, packets: [] }]));
  if (byKey.size !== attempts.length) throw new Error('two attempts share protocol, addresses and ports');
  let arpCount = 0;
  for (const packet of packets) {
    if (packet.hasBadChecksum) throw new Error(`packet ${packet.number} has a bad checksum`);
    if (packet.etherType === '0x0806') {
      arpCount++;
      continue;
    }
    const found =
      byKey.get(packetKey(packet, packet.src, packet.srcPort)) ??
      byKey.get(packetKey(packet, packet.dst, packet.dstPort));
    if (!found) throw new Error(`packet ${packet.number} belongs to no attempt: ${JSON.stringify(packet)}`);
    found.packets.push(packet);
  }
  const connections = [...byKey.values()];
  for (const connection of connections) checkConnection(connection);
  connections.sort((a, b) => a.packets[0].number - b.packets[0].number);
  for (const [index, { attempt }] of connections.entries()) {
    if (attempt !== attempts[index]) throw new Error(`attempt ${attempt.name} is out of the lesson's order`);
  }
  return { lines: connections.map(goldenLine), arpCount };
}

const attemptKey = (attempt) => [attempt.proto, attempt.id, attempt.src, attempt.dst].join(' ');

/** `src` and `srcPort`: of the end that is taken for the client. */
function packetKey(packet, src, srcPort) {
  const dst = src === packet.src ? packet.dst : packet.src;
  const isIcmp = packet.proto === 'icmp' || packet.proto === 'icmpv6';
  return [packet.proto, isIcmp ? packet.icmpId : srcPort, src, dst].join(' ');
}

function checkConnection({ attempt, packets }) {
  const fail = (what) => {
    throw new Error(`attempt ${attempt.name}: ${what}`);
  };
  if (packets.length === 0) fail('not in the capture');
  if (packets[0].src !== attempt.src) fail('its first packet is not from the client');
  const answers = packets.filter((packet) => packet.src === attempt.dst);
  const isRefused = answers.some((packet) => packet.isReset) && answers.every((packet) => packet.isReset);
  const outcome = answers.length === 0 ? 'silent' : isRefused ? 'refused' : 'answered';
  if (outcome !== attempt.outcome) fail(`was ${outcome}, the lesson says ${attempt.outcome}`);
  if ((attempt.status === 0) !== (outcome === 'answered')) fail(`the client ended with status ${attempt.status}`);
}

/** Order of fields: who, verdict, evidence, reasoning. ICMP has no ports; its echo request is named by type and code. */
function goldenLine({ attempt, packets }) {
  const { proto, src, dst, id, port, expect, outcome, why } = attempt;
  const isIcmp = proto === 'icmp' || proto === 'icmpv6';
  return {
    name: attempt.name,
    proto,
    source_ip: src,
    ...(isIcmp ? {} : { source_port: id }),
    dest_ip: dst,
    ...(isIcmp ? { icmp_type: ICMP_ECHO_REQUEST[proto], icmp_code: 0, icmp_id: id } : { dest_port: port }),
    ...expect,
    packets: packets.length,
    outcome,
    why,
  };
}

/**
 * A verdict in the record's form, from the traces of the checks that ran.
 *
 * @param {{ egress?: string[], ingress?: string[], reason?: string }} verdict  traces in Calico's wording, S 7.4; the direction is
 *   left out where no check ran. The last entry of a trace is its check's answer.
 * @returns {{ action: string, reason?: string, direction?: string, egress?: object, ingress?: object }}
 */
export function expectation({ egress, ingress, reason }) {
  const check = (trace) => ({ action: /\|deny\|-?\d+$/.test(trace.at(-1) ?? '') ? 'deny' : 'allow', trace });
  const checks = { ...(egress && { egress: check(egress) }), ...(ingress && { ingress: check(ingress) }) };
  const ran = Object.keys(checks);
  if (ran.length === 0) return { action: 'unpoliced' };
  if (checks.egress?.action === 'deny' && ingress) throw new Error('an ingress check after a denied egress check');
  const direction = ran.at(-1);
  const action = checks[direction].action;
  if ((action === 'deny') !== (reason !== undefined)) throw new Error('a reason belongs to a deny, and only there');
  return { action, ...(reason && { reason }), direction, ...checks };
}
