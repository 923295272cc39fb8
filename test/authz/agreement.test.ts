/**
 * Random worlds and requests, decided by the authorizer and by the reference that reads semantics section 8 off line by line.
 *
 * Requests of one world are asked in two orders, and some of them of an authorizer that has just forgotten everything: what is
 * remembered must not show.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { authzRecord } from '../../src/authz/answer.ts';
import { Authorizer } from '../../src/authz/authorizer.ts';
import { codeName } from '../../src/authz/codes.ts';
import { authorizationForm } from '../../src/compile/authorization.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import type { Resources } from '../../src/model/resources.ts';
import { AuthzReference } from '../../src/reference/authz.ts';
import { loadWorld, world } from '../property/world.ts';
import { drawQuestions, withHttp } from './questions.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_261_125);
const WORLDS = 270;
const QUESTIONS_A_WORLD = 150;

function authorizerOf(resources: Resources): Authorizer {
  return new Authorizer(authorizationForm(planCluster(resources)));
}

test('authorizer and reference agree on forty thousand requests', { timeout: 120_000 }, () => {
  const endings = new Map<string, number>();
  const count = (ending: string): void => void endings.set(ending, (endings.get(ending) ?? 0) + 1);
  fc.assert(
    fc.property(world, fc.nat(), (drawn, seed) => {
      const documents = withHttp(drawn.documents, seed, drawn.permissive);
      const { resources, documents: kept } = loadWorld({ ...drawn, documents });
      const reference = new AuthzReference(resources);
      const authorizer = authorizerOf(resources);
      const backwards = authorizerOf(resources);
      const questions = drawQuestions(drawn.flowSeed, QUESTIONS_A_WORLD, authorizer.form.endpoints);
      const answers = questions.map((question) => codeName(authorizer.check(question).code));
      const turned = questions.toReversed().map((question) => codeName(backwards.check(question).code));
      expect(turned.toReversed()).toEqual(answers);
      questions.forEach((question, i) => {
        const expected = reference.check(question);
        const decision = authorizer.check(question);
        count(`${expected} ${decision.reason}`);
        count(`factor ${authzRecord(authorizer, question, decision).factor ?? 'none'}`);
        if (answers[i] === expected && codeName(decision.code) === expected) return;
        const found = JSON.stringify({ question, expected, answer: answers[i], step: decision.step }, undefined, 1);
        throw new Error(`${found}\n${kept.map((document) => JSON.stringify(document)).join('\n')}`);
      });
    }),
    { numRuns: WORLDS, seed: SEED, endOnFailure: true },
  );
  // Each way to end must be common, or the worlds test less than they seem to.
  for (const [ending, least] of ENDINGS) expect([ending, (endings.get(ending) ?? 0) >= least]).toEqual([ending, true]);
});

const ENDINGS: readonly (readonly [string, number])[] = [
  ['OK rule', 10_000],
  ['PERMISSION_DENIED rule', 500],
  ['PERMISSION_DENIED end-of-tier', 2_000],
  ['PERMISSION_DENIED no-profile-match', 200],
  ['PERMISSION_DENIED unknown-endpoint', 1_000],
  ['INVALID_ARGUMENT bad-path', 30],
  ['INVALID_ARGUMENT missing-tier', 500],
  ['factor network', 300],
  ['factor network+identity', 100],
  ['factor identity', 5],
  ['factor request', 100],
  ['factor port', 2_000],
];
