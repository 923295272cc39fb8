/** The form of a row of the corner-case table (semantics, section 9), and short ways to write its flows. */
import type { Flow } from '../../src/model/flow.ts';

export interface RowFlow {
  readonly flow: Flow;
  readonly expect: 'allow' | 'deny' | 'unpoliced' | 'uncertain';
  readonly reason?: string;
  /** Traces, where the row is about them. */
  readonly egress?: readonly string[];
  readonly ingress?: readonly string[];
  readonly forward?: readonly string[];
}

/** One packet of a conversation; times are in its order, 1 ms apart. */
export interface RowPacket extends Flow {
  readonly tcp_flags?: number;
  /** What an ICMP error quotes. */
  readonly quoted?: Flow;
  readonly expect: 'allow' | 'deny' | 'unpoliced' | 'uncertain';
  readonly reason?: string;
}

export interface RowCase {
  /** Number in the table; a row may have several cases. */
  readonly row: number;
  readonly title: string;
  /** Documents, as `-f` takes them. */
  readonly resources: string;
  /** `--permissive`: the API would refuse this. */
  readonly permissive?: true;
  /** `--as-is`: no Namespace and no ServiceAccount is invented. */
  readonly asIs?: true;
  readonly flows?: readonly RowFlow[];
  readonly packets?: readonly RowPacket[];
}

type Expectation = Omit<RowFlow, 'flow'>;

/** A TCP flow to port 80, or what `fields` says instead. */
export function flow(src: string, dst: string, fields: Partial<Flow> = {}): Flow {
  return { src, dst, protocol: 'tcp', src_port: 40_000, dst_port: 80, ...fields };
}

export function allow(subject: Flow, more: Partial<Expectation> = {}): RowFlow {
  return { flow: subject, expect: 'allow', ...more };
}

export function deny(subject: Flow, more: Partial<Expectation> = {}): RowFlow {
  return { flow: subject, expect: 'deny', ...more };
}

export function unpoliced(subject: Flow): RowFlow {
  return { flow: subject, expect: 'unpoliced' };
}
