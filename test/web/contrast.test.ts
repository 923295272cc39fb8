/** Contrast of every pair of colours that text stands on, in both themes, from the values of tokens.css (WCAG 2.2, 1.4.3: 4.5 to 1). */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const TOKENS = readFileSync(join(import.meta.dirname, '../../src/web/shared/tokens.css'), 'utf8');
const COLORS = new Map(
  [...TOKENS.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);/g)].map(([, name, light, dark]) => [
    name!,
    { light: light!, dark: dark! },
  ]),
);

const TEXTS = [
  'text',
  'muted',
  'accent',
  'allow',
  'deny',
  'unpoliced',
  'uncertain',
  'undecoded',
  'lost',
  'leak',
  'blocked',
];
const PAIRS = [
  ...TEXTS.flatMap((text) => ['surface', 'ground', 'raised'].map((ground) => [text, ground] as const)),
  ['bad-text', 'surface'],
  ['bad-text', 'bad-ground'],
  ['warn-text', 'warn-ground'],
  ['warn-text', 'surface'],
  ['on-accent', 'accent'],
  ['on-finding', 'leak'],
  ['on-finding', 'blocked'],
] as const;

describe.each(['light', 'dark'] as const)('%s', (theme) => {
  test.each(PAIRS)('%s on %s', (text, ground) => {
    expect(contrast(COLORS.get(text)![theme], COLORS.get(ground)![theme])).toBeGreaterThanOrEqual(4.5);
  });

  // Edges of controls and the ring of the focus: 3 to 1 (WCAG 2.2, 1.4.11).
  test.each([
    ['line-strong', 'surface'],
    ['focus', 'surface'],
    ['focus', 'ground'],
  ])('%s beside %s', (line, ground) => {
    expect(contrast(COLORS.get(line)![theme], COLORS.get(ground)![theme])).toBeGreaterThanOrEqual(3);
  });
});

test('black on white is 21 to 1', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
});

function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high! + 0.05) / (low! + 0.05);
}

function luminance(color: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}
