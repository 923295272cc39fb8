/** The functions that the kernel lab asks margay with, from the sources. */
import { evaluateFlow, protocolNumber } from '../../src/analyze/evaluate-flow.ts';
import { formatAddress, formatIpv4, formatIpv6, parseAddress } from '../../src/base/ip.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { renderIptables } from '../../src/render/iptables.ts';
import { interfacePrefixes, podInterface } from '../../src/render/names.ts';
import { renderNft } from '../../src/render/nft.ts';
import * as layout from '../../src/tables/layout.ts';
import { endpointName, field, openTables, templateField, templateText, textField } from '../../src/tables/tables.ts';

export const margay = {
  loadResources,
  compile,
  openTables,
  field,
  textField,
  templateField,
  templateText,
  endpointName,
  evaluateFlow,
  protocolNumber,
  renderNft,
  renderIptables,
  interfacePrefixes,
  podInterface,
  parseAddress,
  formatAddress,
  formatIpv4,
  formatIpv6,
  layout,
};
