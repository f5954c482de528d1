// A short version of `cargo xtask faults`: one round of the engine under random faults.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

test('under faults of the network, the storage and the browser every end is a picture, an answer or an error of the engine', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['faults.js', '0.5'], { cwd: fileURLToPath(new URL('.', import.meta.url)), encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
});
