// @ts-check
// Real counts out of vitest's JSON report.

/**
 * @typedef {object} Counts
 * @property {number} passed
 * @property {string[]} failed   names
 * @property {string[]} skipped  names
 */

/**
 * @typedef {object} Report vitest's JSON report, as far as it is read here
 * @property {{
 *   name: string, status: string, message?: string,
 *   assertionResults: {fullName: string, status: string}[],
 * }[]} testResults one entry a test file
 */

/**
 * Every test counts once, as passed, failed or skipped. Three kinds of trouble that vitest counts nowhere count as one
 * failure each: a file that could not be loaded or whose set-up failed, a run that ended badly though no test
 * failed (an unhandled error), and a run without a report.
 *
 * @param {Report | undefined} report
 * @param {number | null} exitCode  vitest's own, null when a signal ended it
 * @param {string} root             shown file names are relative to it
 * @returns {Counts}
 */
export function countResults(report, exitCode, root) {
  /** @type {Counts} */
  const counts = { passed: 0, failed: [], skipped: [] };
  for (const file of report?.testResults ?? []) {
    const shown = file.name.startsWith(`${root}/`) ? file.name.slice(root.length + 1) : file.name;
    const failedBefore = counts.failed.length;
    for (const { status, fullName } of file.assertionResults) {
      if (status === 'passed') counts.passed++;
      else if (status === 'failed') counts.failed.push(`${shown} > ${fullName}`);
      else counts.skipped.push(`${shown} > ${fullName}`);
    }
    if (file.status === 'failed' && counts.failed.length === failedBefore) {
      counts.failed.push(`${shown}: ${file.message?.split('\n')[0] || 'could not be run'}`);
    }
  }
  if (!report) counts.failed.push('vitest ended without a report');
  else if (exitCode !== 0 && counts.failed.length === 0) {
    counts.failed.push(`vitest ended with ${exitCode === null ? 'a signal' : `exit code ${exitCode}`}, see above`);
  }
  return counts;
}

/**
 * The plain line that ends a run.
 * @param {Counts} counts
 */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed.length} failed, ${skipped.length} skipped`;
}
