/**
 * Schemas of Calico's kinds (projectcalico.org/v3, and the same kinds as crd.projectcalico.org/v1).
 *
 * Names, types, enumerations, lengths and counts are those of Calico's API types (api/pkg/apis/projectcalico/v3).
 */
import {
  anything,
  closed,
  flag,
  list,
  object,
  partly,
  real,
  type Schema,
  text,
  textMap,
  whole,
  wholeOrText,
  wholeWord,
  word,
} from './build.ts';
import { NETWORK_POLICY_SPEC_FIELDS } from './kubernetes.ts';

const SELECTOR = text({ maxLength: 1024 });
const NETS = list(text(), { maxItems: 256 });
const PORTS = list(wholeOrText(), { maxItems: 50 });
const PROTOCOL = wholeOrText();

const ENTITY = closed({
  nets: NETS,
  notNets: NETS,
  selector: SELECTOR,
  notSelector: SELECTOR,
  namespaceSelector: SELECTOR,
  services: closed({ name: text({ maxLength: 253 }), namespace: text({ maxLength: 253 }) }),
  serviceAccounts: closed({ names: list(text()), selector: text() }),
  ports: PORTS,
  notPorts: PORTS,
});

const ICMP = closed({ type: whole({ minimum: 0, maximum: 254 }), code: whole({ minimum: 0, maximum: 255 }) });

const RULE = closed(
  {
    action: word('Allow', 'Deny', 'Log', 'Pass'),
    ipVersion: wholeWord(4, 6),
    protocol: PROTOCOL,
    notProtocol: PROTOCOL,
    icmp: ICMP,
    notICMP: ICMP,
    source: ENTITY,
    destination: ENTITY,
    http: closed({
      methods: list(text(), { maxItems: 20 }),
      paths: list(closed({ exact: text({ maxLength: 1024 }), prefix: text({ maxLength: 1024 }) }), { maxItems: 20 }),
    }),
    metadata: closed({ annotations: textMap() }),
  },
  ['action'],
);

const RULES = list(RULE, { maxItems: 1024 });

const POLICY_FIELDS = {
  tier: text(),
  order: real(),
  selector: SELECTOR,
  serviceAccountSelector: SELECTOR,
  types: list(word('Ingress', 'Egress'), { maxItems: 2 }),
  ingress: RULES,
  egress: RULES,
  performanceHints: list(word('AssumeNeededOnEveryNode')),
};

const GLOBAL_FIELDS = {
  ...POLICY_FIELDS,
  namespaceSelector: SELECTOR,
  doNotTrack: flag(),
  preDNAT: flag(),
  applyOnForward: flag(),
};

/** `''` is the absent action of Calico's own types. */
const STAGED_ACTION = word('', 'Set', 'Delete', 'Learn', 'Ignore');

function withSpec(fields: Readonly<Record<string, Schema>>): Schema {
  return object({ spec: closed(fields) });
}

export const NETWORK_POLICY = withSpec(POLICY_FIELDS);
export const GLOBAL_NETWORK_POLICY = withSpec(GLOBAL_FIELDS);
export const STAGED_NETWORK_POLICY = withSpec({ ...POLICY_FIELDS, stagedAction: STAGED_ACTION });
export const STAGED_GLOBAL_NETWORK_POLICY = withSpec({ ...GLOBAL_FIELDS, stagedAction: STAGED_ACTION });
export const STAGED_KUBERNETES_NETWORK_POLICY = withSpec({
  ...NETWORK_POLICY_SPEC_FIELDS,
  policyTypes: list(text(), { maxItems: 2 }),
  stagedAction: STAGED_ACTION,
});

export const TIER = object({ spec: closed({ order: real(), defaultAction: word('Deny', 'Pass') }), status: anything });
export const NETWORK_SET = withSpec({ nets: list(text()) });

export const HOST_ENDPOINT = withSpec({
  node: text({ maxLength: 253 }),
  interfaceName: text({ maxLength: 15 }),
  expectedIPs: list(text()),
  profiles: list(text()),
  ports: list(
    closed({ name: text(), protocol: PROTOCOL, port: whole({ minimum: 1, maximum: 65535 }) }, [
      'name',
      'protocol',
      'port',
    ]),
  ),
});

export const PROFILE = withSpec({ ingress: RULES, egress: RULES, labelsToApply: textMap() });

const PROTO_PORTS = list(
  closed({ protocol: text(), port: whole({ minimum: 0, maximum: 65535 }), net: text() }, ['port']),
);

export const FELIX_CONFIGURATION = object({
  spec: partly(
    {
      defaultEndpointToHostAction: text(),
      failsafeInboundHostPorts: PROTO_PORTS,
      failsafeOutboundHostPorts: PROTO_PORTS,
      vxlanPort: whole(),
      allowVXLANPacketsFromWorkloads: flag(),
      allowIPIPPacketsFromWorkloads: flag(),
      workloadSourceSpoofing: text(),
      disableConntrackInvalidCheck: flag(),
      serviceLoopPrevention: text(),
      floatingIPs: word('Enabled', 'Disabled'),
      ipv6Support: flag(),
      vxlanEnabled: flag(),
      ipipEnabled: flag(),
      interfacePrefix: text(),
    },
    `nodeSelector useInternalDataplaneDriver dataplaneDriver dataplaneWatchdogTimeout routeRefreshInterval
     interfaceRefreshInterval iptablesRefreshInterval iptablesPostWriteCheckInterval iptablesLockProbeInterval
     iptablesLockFilePath iptablesLockTimeout featureDetectOverride featureGates ipsetsRefreshInterval maxIpsetSize
     iptablesBackend xdpRefreshInterval netlinkTimeout metadataAddr metadataPort openstackRegion
     interfaceExclude chainInsertMode iptablesFilterAllowAction iptablesMangleAllowAction iptablesFilterDenyAction
     logPrefix logActionRateLimit logActionRateLimitBurst logFilePath logSeverityFile logSeverityScreen logSeveritySys
     logDebugFilenameRegex ipipMTU vxlanMTU vxlanMTUV6 vxlanVNI reportingInterval reportingTTL
     endpointReportingEnabled endpointReportingDelay endpointStatusPathPrefix iptablesMarkMask healthEnabled healthHost
     healthPort healthTimeoutOverrides prometheusMetricsEnabled prometheusMetricsHost prometheusMetricsPort
     prometheusGoMetricsEnabled prometheusProcessMetricsEnabled prometheusWireGuardMetricsEnabled
     prometheusMetricsCAFile prometheusMetricsCertFile prometheusMetricsKeyFile prometheusMetricsClientAuth
     kubeNodePortRanges policySyncPathPrefix usageReportingEnabled usageReportingInitialDelay usageReportingInterval
     natPortRange natOutgoingAddress natOutgoingExclusions deviceRouteSourceAddress deviceRouteSourceAddressIPv6
     deviceRouteProtocol removeExternalRoutes programClusterRoutes ipForwarding externalNodesList
     debugMemoryProfilePath debugDisableLogDropping debugSimulateCalcGraphHangAfter debugSimulateDataplaneHangAfter
     debugSimulateDataplaneApplyDelay debugHost debugPort iptablesNATOutgoingInterfaceFilter sidecarAccelerationEnabled
     xdpEnabled genericXDPEnabled nftablesMode nftablesFlowTableOffload nftablesFlowTableDataIfacePattern
     nftablesRefreshInterval nftablesFilterAllowAction nftablesMangleAllowAction nftablesFilterDenyAction
     nftablesMarkMask bpfEnabled bpfOverlayHostSourceIP bpfDisableUnprivileged bpfJITHardening bpfLogLevel
     bpfConntrackLogLevel bpfConntrackMode bpfConntrackTimeouts bpfIPFragTimeout bpfLogFilters bpfCTLBLogFilter
     bpfDataIfacePattern bpfL3IfacePattern bpfConnectTimeLoadBalancingEnabled bpfConnectTimeLoadBalancing
     bpfHostNetworkedNATWithoutCTLB bpfExternalServiceMode bpfDSROptoutCIDRs bpfExtToServiceConnmark
     bpfKubeProxyIptablesCleanupEnabled bpfKubeProxyMinSyncPeriod bpfKubeProxyHealthzPort
     bpfKubeProxyEndpointSlicesEnabled bpfPSNATPorts bpfMapSizeNATFrontend bpfMapSizeNATBackend bpfMapSizeNATAffinity
     bpfMapSizeRoute bpfMapSizeConntrack bpfMapSizePerCpuConntrack bpfMapSizeConntrackScaling
     bpfMapSizeConntrackCleanupQueue bpfMapSizeIPSets bpfMapSizeIfState bpfHostConntrackBypass
     bpfIPFragmentReassemblyEnabled bpfEnforceRPF bpfPolicyDebugEnabled bpfForceTrackPacketsFromIfaces
     bpfDisableGROForIfaces bpfExcludeCIDRsFromNAT bpfExportBufferSizeMB istioAmbientMode istioDSCPMark cgroupV2Path
     flowLogsPolicyEvaluationMode bpfRedirectToPeer bpfAttachType flowLogsFlushInterval flowLogsCollectorDebugTrace
     flowLogsGoldmaneServer flowLogsLocalReporter bpfProfiling routeSource routeTableRanges routeTableRange
     routeSyncDisabled ipv4NormalRoutePriority ipv4ElevatedRoutePriority ipv6NormalRoutePriority
     ipv6ElevatedRoutePriority liveMigrationRouteConvergenceTime wireguardEnabled wireguardEnabledV6
     wireguardThreadingEnabled wireguardListeningPort wireguardListeningPortV6 wireguardRoutingRulePriority
     wireguardInterfaceName wireguardInterfaceNameV6 wireguardMTU wireguardMTUV6 wireguardHostEncryptionEnabled
     wireguardKeepAlive awsSrcDstCheck mtuIfacePattern localSubnetL2Reachability
     localSubnetL2ReachabilityRefreshInterval windowsManageFirewallRules windowsNetworkName
     windowsFlowLogsFileDirectory goGCThreshold goMemoryLimitMB goMaxProcs requireMTUFile
     bpfMaglevMaxEndpointsPerService bpfMaglevMaxServices`,
  ),
});

const BLOCKS = list(closed({ cidr: text() }));

export const BGP_CONFIGURATION = object({
  spec: partly(
    { serviceClusterIPs: BLOCKS, serviceExternalIPs: BLOCKS, serviceLoadBalancerIPs: BLOCKS },
    `logSeverityScreen nodeToNodeMeshEnabled asNumber serviceLoadBalancerAggregation communities prefixAdvertisements
     listenPort nodeMeshPassword nodeMeshMaxRestartTime bindMode ignoredInterfaces localWorkloadPeeringIPV4
     localWorkloadPeeringIPV6 programClusterRoutes ipv4NormalRoutePriority ipv6NormalRoutePriority`,
  ),
});
