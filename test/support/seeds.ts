/**
 * Seeds of random tests. In CI each run tries the same cases, so that a failure there is of the change at hand and comes again; everywhere
 * else each run tries others, as `npm run test:soak` does for hours.
 */
import fc from 'fast-check';

if (process.env.CI === 'true') fc.configureGlobal({ seed: 20_261_126 });
