import { expect, test } from 'vitest';
import { closingLine, countResults } from '../support/count.mjs';

type TestFile = Parameters<typeof countResults>[0] extends infer R | undefined
  ? R extends { testResults: (infer F)[] }
    ? F
    : never
  : never;

const file = (name: string, statuses: string[], status = 'passed', message = ''): TestFile => ({
  name: `/repo/test/${name}`,
  status,
  message,
  assertionResults: statuses.map((each, at) => ({ fullName: `test ${at}`, status: each })),
});

const count = (testResults: TestFile[], exitCode: number | null = 0) =>
  countResults({ testResults }, exitCode, '/repo');

test('counts every test once and names what failed and what was skipped', () => {
  const counts = count([
    file('a.test.ts', ['passed', 'skipped', 'passed', 'todo', 'pending']),
    file('b.test.ts', ['failed', 'passed'], 'failed'),
  ]);
  expect(closingLine(counts)).toBe('3 passed, 1 failed, 3 skipped');
  expect(counts.failed).toEqual(['test/b.test.ts > test 0']);
  expect(counts.skipped[1]).toBe('test/a.test.ts > test 3');
});

test('a file that could not be loaded is one failure', () => {
  const counts = count([file('a.test.ts', [], 'failed', 'Cannot find module\nstack')], 1);
  expect(counts.failed).toEqual(['test/a.test.ts: Cannot find module']);
});

test('a file whose set-up failed is one failure beside its skipped tests', () => {
  const counts = count([file('a.test.ts', ['skipped', 'skipped'], 'failed', 'no server')], 1);
  expect(closingLine(counts)).toBe('0 passed, 1 failed, 2 skipped');
});

test('an unhandled error outside the tests is one failure', () => {
  expect(count([file('a.test.ts', ['passed'])], 1).failed).toEqual(['vitest ended with exit code 1, see above']);
  expect(count([file('a.test.ts', ['passed'])], null).failed).toEqual(['vitest ended with a signal, see above']);
});

test('a run without a report is one failure', () => {
  expect(closingLine(countResults(undefined, 0, '/repo'))).toBe('0 passed, 1 failed, 0 skipped');
});
