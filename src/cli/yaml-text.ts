/** The package `yaml`, loaded on demand: in the bundle (bundle.mjs) an import of the package itself would give nothing but its default. */
export { stringify } from 'yaml';
