import { expect, test } from 'vitest';
import { uniqueId } from '../../src/base/hash.ts';

// Vectors of Calico's MakeUniqueID: selectors, named ports, services.
test.each([
  ['s:', 'all()', '5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug'],
  ['s:', 'role == "db"', 'rV61RKD1Q8wo61pyeB0j2rwE3eiBOFbx0SsYKg'],
  ['s:', 'projectcalico.org/serviceaccount in {"api", "web"}', '7iaKulPW5pm3VtzAj5nN44qKpdDRmR5gh5kEcA'],
  ['s:', '(projectcalico.org/namespace == "app" && role == "db")', 'wzWenftES5m57582q7DjzqyIT7SKWwyDbozj6Q'],
  [
    's:',
    '(projectcalico.org/namespace == "app" && (pcsa.tier == "gold" && projectcalico.org/serviceaccount in {"api"}))',
    'ZwZU2LI69LjYtqRYLeFw7pTGXttb1CakDPSXTg',
  ],
  ['n:', 's:rV61RKD1Q8wo61pyeB0j2rwE3eiBOFbx0SsYKg,tcp,http', 'v1r2STTlO7TacjeCimdhkpVVM3zO_Bl2xCq5fw'],
  ['n:', 's:rV61RKD1Q8wo61pyeB0j2rwE3eiBOFbx0SsYKg,any,http', '-QyjwKEcgnmJVjGVxr55nE0Zt1aXzS4NH_36rw'],
  ['svc:', 'app/web', 'h04jGb2SEBs47F_jeGlIV2CDvpPyhO7lc4sJbA'],
  ['svcnoport:', 'app/web', '44nwR4tl8bzZna7p6MciNTLJ7UdRPLrEW_3Baw'],
] as const)('%s of %s', (prefix, text, hash) => {
  expect(uniqueId(prefix, text)).toBe(prefix + hash);
});

test('hashes UTF-8 and makes 38 characters', () => {
  expect(uniqueId('s:', 'a == "é"')).not.toBe(uniqueId('s:', 'a == "e"'));
  expect(uniqueId('s:', '')).toMatch(/^s:[\w-]{38}$/);
});
