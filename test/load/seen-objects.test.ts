/** The table of names against one that cannot be wrong. */
import { expect, test } from 'vitest';
import { SeenObjects } from '../../src/load/seen-objects.ts';
import type { ObjectMeta } from '../../src/model/resources.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';

test('what was there before, of 40 000 objects of which many come again', () => {
  const random = new Xorshift32(9);
  const seen = new SeenObjects();
  const expected = new Map<string, ObjectMeta>();
  let repeated = 0;
  for (let line = 1; line <= 40_000; line++) {
    const kind = `Kind${random.below(3)}`;
    const namespace = random.below(4) === 0 ? '' : `ns-${random.below(50)}`;
    const name = `${'ab'.repeat(random.below(3))}${random.below(200)}`;
    const key = `${kind}/${namespace}/${name}`;
    const origin = { file: 'f', line };
    const meta = { name, namespace, uid: '', labels: new Map(), annotations: new Map(), origin };
    expect(seen.add(kind, meta)).toBe(expected.get(key));
    if (expected.has(key)) repeated++;
    else expected.set(key, meta);
  }
  expect(repeated).toBeGreaterThan(1000);
  expect(expected.size).toBeGreaterThan(10_000);
});
