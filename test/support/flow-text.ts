/** Flows as the lines of `packets.txt` in a case folder (test/cases/README.md), both ways. */
import type { Flow } from '../../src/model/flow.ts';

const LINE = /^(\w+) (\S+) > (\S+)(?: type (\d+) code (\d+))?$/;

/** `tcp 10.0.0.1:40000 > [fd00::1]:80`, `icmp 10.0.0.1 > 10.0.0.2 type 8 code 0`, `47 10.0.0.1 > 10.0.0.2`. */
export function parseFlow(line: string): Flow {
  const match = LINE.exec(line);
  if (match === null) throw new Error(`not a packet: ${line}`);
  const [, protocol, src, dst, type, code] = match;
  const [source, destination] = [parseEnd(src!), parseEnd(dst!)];
  return {
    src: source.address,
    dst: destination.address,
    protocol: /^\d+$/.test(protocol!) ? Number(protocol) : protocol!,
    ...(source.port === undefined ? {} : { src_port: source.port }),
    ...(destination.port === undefined ? {} : { dst_port: destination.port }),
    ...(type === undefined ? {} : { icmp_type: Number(type), icmp_code: Number(code) }),
  };
}

export function formatFlow({ src, dst, protocol, src_port, dst_port, icmp_type, icmp_code }: Flow): string {
  const type = icmp_type === undefined ? '' : ` type ${icmp_type} code ${icmp_code ?? 0}`;
  return `${protocol ?? 'tcp'} ${formatEnd(src, src_port)} > ${formatEnd(dst, dst_port)}${type}`;
}

function parseEnd(text: string): { address: string; port?: number } {
  const bracketed = /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text);
  return bracketed === null ? { address: text } : { address: bracketed[1]!, port: Number(bracketed[2]) };
}

function formatEnd(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
