/** Rows 108-117 of the corner-case table (semantics, section 9), through the authorizer and through the reference. */
import { describe, expect, test } from 'vitest';
import { authzRecord } from '../../src/authz/answer.ts';
import { Authorizer } from '../../src/authz/authorizer.ts';
import { authorizationForm } from '../../src/compile/authorization.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { AuthzReference } from '../../src/reference/authz.ts';
import { AUTHZ_ROWS } from '../rows/rows-authz.ts';

describe.each(AUTHZ_ROWS)('row $row: $title', ({ resources: text, requests }) => {
  const { resources, errors } = loadResources([{ name: 'row.yaml', text }]);

  test('authorizer', () => {
    expect(errors).toEqual([]);
    const authorizer = new Authorizer(authorizationForm(planCluster(resources)));
    const answers = requests.map((wanted) => {
      const { code, factor } = authzRecord(authorizer, wanted.request, authorizer.check(wanted.request));
      return { request: wanted.request, code, ...(wanted.factor === undefined ? {} : { factor }) };
    });
    expect(answers).toEqual(requests);
  });

  test('reference', () => {
    const reference = new AuthzReference(resources);
    const codes = requests.map(({ request }) => reference.check(request));
    expect(codes).toEqual(requests.map(({ code }) => code));
  });
});
