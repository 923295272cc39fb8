/** Decisions alone, one core, without gRPC: the first sight of every peer, and then the same requests again. */
import { Authorizer } from '../../src/authz/authorizer.ts';
import { CODE_OK, codeName } from '../../src/authz/codes.ts';
import { authorizationForm } from '../../src/compile/authorization.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { AuthzReference } from '../../src/reference/authz.ts';
import { type AuthzShape, authzCluster, drawRequests } from '../workload-authz.ts';

const REQUESTS = 200_000;
const CHECKED = 40;
const PASSES = 5;

const [, , shape = 'rules'] = process.argv as [string, string, AuthzShape?];
const { resources, errors } = loadResources([{ name: 'cluster.json', text: authzCluster(shape) }]);
if (errors.length > 0) throw new Error(JSON.stringify(errors[0]));
const plan = planCluster(resources);
const start = performance.now();
const authorizer = new Authorizer(authorizationForm(plan));
const prepareMs = performance.now() - start;
const requests = drawRequests(shape, REQUESTS);

const reference = new AuthzReference(resources);
for (const request of requests.slice(0, CHECKED)) {
  const [wanted, answer] = [reference.check(request), codeName(new Authorizer(authorizer.form).check(request).code)];
  if (wanted !== answer) throw new Error(`${shape}: ${answer} instead of ${wanted} for ${JSON.stringify(request)}`);
}

let allowed = 0;
const pass = (): number => {
  const begin = performance.now();
  for (const request of requests) if (authorizer.check(request).code === CODE_OK) allowed++;
  return REQUESTS / ((performance.now() - begin) / 1000);
};
const first = pass();
const warm = Array.from({ length: PASSES }, pass);
const share = allowed / (REQUESTS * (PASSES + 1));
process.stdout.write(`${JSON.stringify({ first, warm, prepareMs, share })}\n`);
