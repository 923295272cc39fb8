/**
 * Services, for captures taken before kube-proxy rewrote the destination: which backends an address and port stand for.
 *
 * Policy sees backends only (semantics 6.9). The addresses of a Service are its cluster, external and load-balancer
 * addresses; a port leads to the addresses of the EndpointSlices of the service, at the slice port of the same name and
 * protocol. All addresses count, whatever their conditions, as in services rules (semantics 3.8).
 */
import { compareBytewise } from '../base/bytewise.ts';
import { comparePrefixes, fullPrefix, parseAddress, parsePrefixOrAddress } from '../base/ip.ts';
import type { BGPConfiguration, Service, ServicePort } from '../model/resources.ts';
import { parsedAddresses, type SliceIndex, slicePortProtocol, sortedPrefixes } from './ip-sets.ts';
import type { PlanService, Prefix } from './plan.ts';
import { portProtocolNumber } from './protocols.ts';

type Backend = PlanService['ports'][number]['backends'][number];

/** Services that have an address, by `namespace/name`. */
export function planServices(services: readonly Service[], slices: SliceIndex): PlanService[] {
  return services
    .map((service) => planService(service, slices))
    .filter((service) => service.addresses.length > 0)
    .sort((a, b) => compareBytewise(a.key, b.key));
}

function planService(service: Service, slices: SliceIndex): PlanService {
  const key = `${service.meta.namespace}/${service.meta.name}`;
  const texts = [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIPs];
  const addresses = sortedPrefixes(
    texts.flatMap((text) => {
      // A headless service has `None`.
      const address = parseAddress(text);
      return address === undefined ? [] : [fullPrefix(address)];
    }),
  );
  const ports = service.ports.flatMap((port) => {
    const protocol = portProtocolNumber(port.protocol);
    return protocol === undefined
      ? []
      : [{ protocol, port: port.port, backends: backendsOf(key, port, protocol, slices) }];
  });
  return { key, addresses, ports: ports.sort((a, b) => a.protocol - b.protocol || a.port - b.port) };
}

function backendsOf(key: string, port: ServicePort, protocol: number, slices: SliceIndex): Backend[] {
  const backends = slices.slicesOf(key).flatMap((slice) =>
    slice.ports.flatMap((slicePort) => {
      const number = slicePort.port;
      if (number === undefined || slicePort.name !== port.name || slicePortProtocol(slicePort.protocol) !== protocol) {
        return [];
      }
      return parsedAddresses(slice).map((address) => ({ address: fullPrefix(address), port: number }));
    }),
  );
  backends.sort(compareBackends);
  return backends.filter((backend, i) => i === 0 || compareBackends(backends[i - 1]!, backend) !== 0);
}

function compareBackends(a: Backend, b: Backend): number {
  return comparePrefixes(a.address, b.address) || a.port - b.port;
}

/** CIDRs whose unserved addresses the service-loop block drops: those of BGPConfiguration `default`. */
export function serviceLoopPrefixes(configurations: readonly BGPConfiguration[]): Prefix[] {
  const texts = configurations
    .filter(({ meta }) => meta.name === 'default')
    .flatMap((c) => [...c.serviceClusterIPs, ...c.serviceExternalIPs, ...c.serviceLoadBalancerIPs]);
  return sortedPrefixes(texts.flatMap((text) => parsePrefixOrAddress(text) ?? []));
}
