// The packed package in the projects of others, with the settings that they begin with: frameworks over Vite, webpack and Next, each built, opened and drawn
// in; and its types in their templates. `cargo xtask stacks` runs this.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import vue from '@vitejs/plugin-vue';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build, preview } from 'vite';
import webpack from 'webpack';
import { browse, TYPES } from '../web/harness.js';
import { draws, project, run } from '../web/package.js';

const home = fileURLToPath(new URL('.', import.meta.url));
const bin = (name, file) => join(createRequire(import.meta.url).resolve(`${name}/package.json`), '..', file);
const html = '<!doctype html><html lang="en"><title>t</title><div id="root"></div><script type="module" src="/main.js"></script></html>';

let browser;
before(async () => (browser = await browse()));
after(() => browser?.close());

/** A project that goes when its test is over. */
async function made(t, files) {
  const { root, tarball, remove } = await project(files, home);
  t.after(remove);
  return { root, tarball };
}

const VITE = {
  React: {
    plugins: [react()],
    files: {
      'main.js': "import { createRoot } from 'react-dom/client'; import { App } from './App.jsx'; import { createElement } from 'react'; createRoot(document.querySelector('#root')).render(createElement(App));",
      'App.jsx': `import 'unigen';
        import { useState } from 'react';
        export function App() {
          const [seed, setSeed] = useState();
          return <><unigen-editor src="/model/" prompt="x" seed={7} onresult={({ detail }) => setSeed(detail.seed)} /><p id="seed">{seed}</p></>;
        }`,
    },
  },
  Vue: {
    // As Vue's guide tells for custom elements.
    plugins: [vue({ template: { compilerOptions: { isCustomElement: (tag) => tag.includes('-') } } })],
    files: {
      'main.js': "import { createApp } from 'vue'; import App from './App.vue'; createApp(App).mount('#root');",
      'App.vue': `<script setup>
        import 'unigen';
        import { ref } from 'vue';
        const seed = ref();
        </script>
        <template><unigen-editor src="/model/" prompt="x" :seed="7" @result="seed = $event.detail.seed" /><p id="seed">{{ seed }}</p></template>`,
    },
  },
  Svelte: {
    plugins: [svelte({ configFile: false })],
    files: {
      'main.js': "import { mount } from 'svelte'; import App from './App.svelte'; mount(App, { target: document.querySelector('#root') });",
      'App.svelte': `<script>
        import 'unigen';
        let seed = $state();
        </script>
        <unigen-editor src="/model/" prompt="x" seed={7} onresult={({ detail }) => (seed = detail.seed)}></unigen-editor><p id="seed">{seed}</p>`,
    },
  },
};

for (const [name, { plugins, files }] of Object.entries(VITE)) {
  test(`${name} over Vite: attributes, events, a drawing`, async (t) => {
    const { root } = await made(t, { 'index.html': html, ...files });
    const settings = { root, configFile: false, logLevel: 'warn', plugins };
    await build(settings);
    const server = await preview({ ...settings, preview: { port: 0 } });
    t.after(() => server.close());
    const page = await draws(browser, server.resolvedUrls.local[0]);
    await page.locator('#seed', { hasText: '7' }).waitFor();
  });
}

/** Serves a folder. */
async function serveFolder(t, folder) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = join(folder, pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    const body = await readFile(file).catch(() => null);
    response.writeHead(body ? 200 : 404, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}/`;
}

test('webpack', async (t) => {
  const { root } = await made(t, {
    'src/index.js': "import 'unigen';",
    'public/index.html': '<!doctype html><html lang="en"><title>t</title><unigen-editor src="/model/" prompt="x"></unigen-editor><script defer src="main.js"></script></html>',
  });
  const stats = await new Promise((resolve, reject) => {
    webpack({ mode: 'production', context: root, output: { path: join(root, 'public') } }, (error, stats) => (error ? reject(error) : resolve(stats)));
  });
  assert.deepEqual(stats.toJson().errors, []);
  await draws(browser, await serveFolder(t, join(root, 'public')));
});

test('Next: rendered on the server, drawn in the browser', async (t) => {
  const { root } = await made(t, {
    'package.json': '{ "private": true }',
    // Its packages are those of the folder above.
    'next.config.js': `module.exports = { turbopack: { root: ${JSON.stringify(home)} } };`,
    'app/layout.jsx': 'export default function Layout({ children }) { return <html lang="en"><body>{children}</body></html>; }',
    'app/page.jsx': "import Editor from './editor'; export default function Page() { return <Editor />; }",
    'app/editor.jsx': `'use client';
      import 'unigen';
      export default function Editor() { return <unigen-editor src="/model/" prompt="x" />; }`,
  });
  const next = bin('next', 'dist/bin/next');
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };
  await run('node', [next, 'build'], { cwd: root, env });
  const server = spawn('node', [next, 'start', '--port', '0'], { cwd: root, env });
  t.after(() => server.kill());
  const url = await new Promise((resolve, reject) => {
    server.stdout.on('data', (data) => {
      const [found] = /http:\/\/localhost:\d+/.exec(data) ?? [];
      if (found) resolve(found);
    });
    server.on('exit', () => reject(new Error('next start has ended')));
  });
  assert.match(await (await fetch(url)).text(), /<unigen-editor src="\/model\/" prompt="x">/);
  await draws(browser, url);
});

const TSC = bin('typescript', 'bin/tsc');
const CONFIG = { strict: true, noEmit: true, target: 'es2022', module: 'esnext', moduleResolution: 'bundler', lib: ['es2022', 'dom', 'dom.iterable'], types: [] };
const config = (files, options = {}) => JSON.stringify({ compilerOptions: { ...CONFIG, ...options }, files });

/** What a checker says of a project, and how many lines of it are errors. */
const checked = (root, command, ...args) =>
  run('node', [command, ...args], { cwd: root }).then(
    () => '',
    ({ stdout, stderr }) => stdout + stderr,
  );

/** Tags that templates may have, and what they may not. */
const GOOD = ['prompt="x"', 'mode="edit"', 'seed={7}', 'seed="7"', 'steps={12}', 'guidance={2.5}', 'disabled', 'required', 'loading="manual"', 'theme="dark"', 'name="n"', 'id="e"', 'lang="zh"', 'src="/model/"', 'image={new Blob()}'];
const BAD = ['mode="draw"', 'loading={7}', 'theme="blue"', 'prompt={7}', 'disabled="yes"', 'steps={{}}', 'image="a.png"', 'mask={7}', 'src={7}'];

const ON = 'onresult={({ detail }) => detail.seed?.toFixed()}';
const WRONG = 'onresult={({ detail }) => detail.seeds}';
// Preact lets any tag have attributes that it does not know.
const TSX = { React: ['react', [...BAD, 'seeds={7}', WRONG]], Preact: ['preact', [...BAD, WRONG]] };

for (const [name, [source, bad]] of Object.entries(TSX)) {
  test(`the tag in TSX for ${name}: what is right passes, what is wrong does not`, async (t) => {
    const tag = (attribute, i) => `export const a${i} = () => <unigen-editor ${attribute} />;`;
    const options = { jsx: 'react-jsx', jsxImportSource: source };
    const { root } = await made(t, {
      'good.tsx': ["import 'unigen';", ...[...GOOD, ON].map(tag)].join('\n'),
      'bad.tsx': ["import 'unigen';", ...bad.map(tag)].join('\n'),
      'good.json': config(['good.tsx'], options),
      'bad.json': config(['bad.tsx'], options),
    });
    assert.equal(await checked(root, TSC, '-p', 'good.json'), '');
    const lines = new Set([...(await checked(root, TSC, '-p', 'bad.json')).matchAll(/^bad\.tsx\((\d+),/gm)].map(([, line]) => Number(line)));
    assert.deepEqual([...lines].sort((a, b) => a - b), bad.map((_, i) => i + 2));
  });
}

test('the tag in templates of Vue and Svelte', async (t) => {
  const { root } = await made(t, {
    'Good.vue': `<script setup lang="ts">import 'unigen';</script><template><unigen-editor prompt="x" mode="edit" :seed="7" disabled @result="(event) => event.detail.seed?.toFixed()" /></template>`,
    'Bad.vue': `<script setup lang="ts">import 'unigen';</script>
      <template><unigen-editor mode="draw" /><unigen-editor @result="(event) => event.detail.seeds" /></template>`,
    'good.json': config(['Good.vue']),
    'bad.json': config(['Bad.vue']),
    'svelte/Good.svelte': `<script lang="ts">import 'unigen';</script><unigen-editor prompt="x" mode="edit" seed={7} disabled onresult={({ detail }) => detail.seed?.toFixed()}></unigen-editor>`,
    'svelte/tsconfig.json': JSON.stringify({ compilerOptions: { ...CONFIG, allowJs: true, verbatimModuleSyntax: true }, include: ['.'] }),
    'wrong/Bad.svelte': `<script lang="ts">import 'unigen';</script><unigen-editor mode="draw"></unigen-editor><unigen-editor onresult={({ detail }) => detail.seeds}></unigen-editor>`,
    'wrong/tsconfig.json': JSON.stringify({ compilerOptions: { ...CONFIG, allowJs: true, verbatimModuleSyntax: true }, include: ['.'] }),
  });
  const vueTsc = bin('vue-tsc', 'bin/vue-tsc.js');
  assert.equal(await checked(root, vueTsc, '-p', 'good.json'), '');
  assert.equal([...(await checked(root, vueTsc, '-p', 'bad.json')).matchAll(/error TS/g)].length, 2);
  const check = bin('svelte-check', 'bin/svelte-check');
  assert.equal(await checked(root, check, '--workspace', join(root, 'svelte'), '--tsconfig', join(root, 'svelte/tsconfig.json')), '');
  assert.match(await checked(root, check, '--workspace', join(root, 'wrong'), '--tsconfig', join(root, 'wrong/tsconfig.json')), /2 errors/);
});

test('types without any framework, every exported module', async (t) => {
  const { root } = await made(t, {
    'all.ts': `import { UniGenEditor, type EditorResult } from 'unigen';
      import { Engine, EngineError, type Progress } from 'unigen/engine';
      import { readPng, type PictureRecord } from 'unigen/png';
      import manifest from 'unigen/custom-elements.json';
      const editor: UniGenEditor = document.createElement('unigen-editor');
      editor.addEventListener('result', ({ detail }: CustomEvent<EditorResult>) => detail.image?.width);
      editor.prompt = null;
      export async function draw(): Promise<Progress | undefined> {
        let last: Progress | undefined;
        const engine = await Engine.create({ backend: 'cpu' });
        await engine.generate({ prompt: 'x' }, { onprogress: (progress) => (last = progress) }).catch((error: EngineError) => error.option);
        return last;
      }
      export const read = (file: Blob): Promise<PictureRecord | null> => readPng(file);
      export const version: string = manifest.schemaVersion;
      // @ts-expect-error
      editor.mode = 'draw';
      // @ts-expect-error
      Engine.create({ backend: 'gpu' });`,
    // Where no framework is seen.
    'tsconfig.json': config(['all.ts'], { skipLibCheck: false, resolveJsonModule: true, paths: { react: ['./none'], preact: ['./none'], vue: ['./none'], 'svelte/elements': ['./none'] } }),
  });
  assert.equal(await checked(root, TSC, '-p', '.'), '');
});

test('publint and attw find nothing', async (t) => {
  const { tarball } = await made(t, {});
  const { publint } = await import('publint');
  const { messages } = await publint({ pkgDir: join(tarball, '../node_modules/unigen'), strict: true });
  assert.deepEqual(messages, []);
  const attw = bin('@arethetypeswrong/cli', 'dist/index.js');
  assert.equal(await checked(home, attw, tarball, '--profile', 'esm-only', '--format', 'json', '--exclude-entrypoints', 'custom-elements.json', 'package.json'), '');
});
