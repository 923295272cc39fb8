/** The page: files of dist/web, read once at the start into a map by their exact path. Nothing outside of the map is ever served. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly etag: string;
  /** Its name changes with its content. */
  readonly isImmutable: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

const FILES_MAX = 200;
const FILE_BYTES_MAX = 8 << 20;

/** Where the built page lies: beside the bundle, beside what tsc wrote, or in dist seen from the sources. */
export function pageFolder(moduleUrl: string = import.meta.url): string {
  return fileURLToPath(new URL(moduleUrl.endsWith('.ts') ? '../../dist/web/' : '../web/', moduleUrl));
}

/** Files by their path (`/`, `/assets/index-abc.js`); empty if the page is not built. */
export function readAssets(folder: string): ReadonlyMap<string, Asset> {
  const assets = new Map<string, Asset>();
  collect(folder, '', assets);
  const index = assets.get('/index.html');
  if (index === undefined) return new Map();
  assets.set('/', index);
  return assets;
}

function collect(folder: string, prefix: string, assets: Map<string, Asset>): void {
  let entries: ReturnType<typeof readFolder>;
  try {
    entries = readFolder(folder);
  } catch {
    return;
  }
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) collect(path, `${prefix}/${entry.name}`, assets);
    // Links are no files: nothing from elsewhere gets into the map.
    else if (entry.isFile() && assets.size < FILES_MAX && TYPES[extname(entry.name)] !== undefined) {
      const bytes = readFileSync(path);
      if (bytes.length > FILE_BYTES_MAX) continue;
      assets.set(`${prefix}/${entry.name}`, {
        body: new Uint8Array(bytes),
        type: TYPES[extname(entry.name)]!,
        etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
        isImmutable: /[-.][\w-]{8,}\.\w+$/.test(entry.name) && prefix !== '',
      });
    }
  }
}

function readFolder(folder: string) {
  return readdirSync(folder, { withFileTypes: true });
}
