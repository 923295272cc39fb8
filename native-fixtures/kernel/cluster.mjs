/**
 * From margay's tables to a case of the lab, and what margay predicts for it.
 *
 * `margay` is the program's functions, handed in so that tests use the sources and the command the build:
 * `{ loadResources, compile, openTables, field, textField, templateField, templateText, endpointName, evaluateFlow, renderNft, renderIptables, layout }`.
 */
const PREFIX_WORDS = 5;

/**
 * Opens the tables of a cluster, for each tool those of its dataplane; throws if the API would refuse an object.
 *
 * @param {{ name: string, text: string }[]} sources
 * @param {{ permissive?: boolean, asIs?: boolean }} options  of the load
 */
export function openCluster(margay, sources, options) {
  const { resources, errors } = margay.loadResources(sources, options);
  if (errors.length > 0) throw new Error(`the cluster has errors: ${JSON.stringify(errors[0])}`);
  const open = (dataplane) => margay.openTables(margay.compile(resources, { dataplane }));
  return { nft: open('nftables'), iptables: open('iptables') };
}

/** Nodes, pods and their addresses as topology.mjs wants them. */
export function clusterOf(margay, tables) {
  const { layout, textField, field, templateField, templateText, endpointName } = margay;
  const count = (section) => tables.counts[section];
  const nodes = Array.from({ length: count(layout.SECTION_NODES) }, (_, node) => ({
    name: textField(tables, layout.SECTION_NODES, node, layout.NODE_NAME),
    addresses: addresses(margay, tables, layout.SECTION_NODES, node, layout.NODE_ADDRESSES),
  }));
  const pods = [];
  for (let endpoint = 0; endpoint < count(layout.SECTION_ENDPOINTS); endpoint++) {
    if (templateField(tables, endpoint, layout.TEMPLATE_KIND) !== layout.KIND_WEP) continue;
    pods.push({
      key: textField(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY),
      node: field(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_NODE),
      device: margay.podInterface(
        prefixOf(margay, tables, field(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_NODE)),
        templateText(tables, endpoint, layout.TEMPLATE_NAMESPACE),
        endpointName(tables, endpoint),
      ),
      addresses: addresses(margay, tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_ADDRESSES),
    });
  }
  return { nodes, pods };
}

function prefixOf(margay, tables, node) {
  const { layout } = margay;
  return margay.interfacePrefixes(
    margay.textField(tables, layout.SECTION_NODES, node, layout.NODE_INTERFACE_PREFIXES),
  )[0];
}

/** The texts to load on each node. The lab's uplink is eth0, whatever a host endpoint calls it. */
export function rulesetsOf(margay, { nft, iptables }) {
  const { layout } = margay;
  return Array.from({ length: nft.counts[layout.SECTION_NODES] }, (_, node) => ({
    ...margay.renderNft(nft, node, { uplink: 'eth0' }),
    ...margay.renderIptables(iptables, node, { uplink: 'eth0' }),
  }));
}

export function serviceAddressesOf(margay, tables) {
  const { layout, field } = margay;
  return Array.from({ length: tables.counts[layout.SECTION_SERVICES] }, (_, service) =>
    addressText(margay, tables, field(tables, layout.SECTION_SERVICES, service, layout.SERVICE_ADDRESS)),
  );
}

/** Flows with numbers for protocols and every field that their packet needs, numbered from 0. */
export function numberedFlows(margay, flows) {
  return flows.map((flow, id) => {
    const protocol = margay.protocolNumber(flow.protocol ?? 'tcp');
    const [src, dst] = [flow.src, flow.dst].map((text) => margay.formatAddress(margay.parseAddress(text)));
    if (protocol === 1 || protocol === 58) {
      return {
        id,
        src,
        dst,
        protocol,
        icmp_type: flow.icmp_type ?? (protocol === 1 ? 8 : 128),
        icmp_code: flow.icmp_code ?? 0,
      };
    }
    const hasPorts = [6, 17, 132, 136].includes(protocol);
    return hasPorts
      ? { id, src, dst, protocol, src_port: flow.src_port ?? 49152, dst_port: flow.dst_port ?? 49152 }
      : { id, src, dst, protocol };
  });
}

/** What the kernel must do with the packet of `flow` if margay is right: true = deliver it; undefined = margay does not know. */
export function predict(margay, tables, flow) {
  const { action } = margay.evaluateFlow(tables, flow);
  return action === 'uncertain' ? undefined : action !== 'deny';
}

/** At most `max` TCP flows that real connections can stand for: between pods and outside, nothing untracked, one a tuple. */
export function connectSample(margay, tables, cluster, flows, max) {
  const pods = new Map(cluster.pods.flatMap((pod) => pod.addresses.map((address) => [address, pod])));
  const shared = new Set(cluster.pods.flatMap((pod) => pod.addresses.filter((address) => pods.get(address) !== pod)));
  const nodes = new Set(cluster.nodes.flatMap(({ addresses }) => addresses));
  const services = new Set(serviceAddressesOf(margay, tables));
  const used = new Set();
  const isPlain = (address) => !shared.has(address) && !nodes.has(address) && !services.has(address);
  return flows
    .filter((flow) => {
      if (flow.protocol !== 6 || flow.src_port === 0 || flow.dst_port === 0 || flow.src === flow.dst) return false;
      if (!isPlain(flow.src) || !isPlain(flow.dst) || (!pods.has(flow.src) && !pods.has(flow.dst))) return false;
      const record = margay.evaluateFlow(tables, flow);
      const answer = margay.evaluateFlow(tables, {
        ...flow,
        src: flow.dst,
        dst: flow.src,
        src_port: flow.dst_port,
        dst_port: flow.src_port,
      });
      if (answer.untracked !== undefined) return false;
      const ends = [`${flow.src} ${flow.src_port}`, `${flow.dst} ${flow.dst_port}`];
      if (record.untracked !== undefined || record.action === 'uncertain' || ends.some((end) => used.has(end)))
        return false;
      for (const end of ends) used.add(end);
      return true;
    })
    .slice(0, max);
}

/** Start and count of prefixes to address texts. */
function addresses(margay, tables, section, record, word) {
  const start = margay.field(tables, section, record, word);
  const count = margay.field(tables, section, record, word + 1);
  return Array.from({ length: count }, (_, i) => addressText(margay, tables, start + i));
}

function addressText({ formatIpv4, formatIpv6 }, tables, prefix) {
  const at = prefix * PREFIX_WORDS;
  const words = Array.from(tables.prefixes.subarray(at + 1, at + 5));
  return tables.prefixes[at] >> 8 === 4 ? formatIpv4(words[0]) : formatIpv6(...words);
}
