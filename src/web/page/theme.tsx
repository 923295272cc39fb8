/** Dark or light: what the system says until the reader chooses, which this browser then remembers. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';

const KEY = 'margay-theme';
const THEMES = ['system', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];

/** Fired on the document when colours change; pictures on canvas listen. */
export const THEME_EVENT = 'margay-theme';

export function applyStoredTheme(): void {
  apply(stored());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () =>
    document.dispatchEvent(new Event(THEME_EVENT)),
  );
}

export function ThemeToggle(): JSX.Element {
  const [theme, setTheme] = useState(stored);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
  const choose = (): void => {
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // Not remembered, then.
    }
    apply(next);
    setTheme(next);
  };
  return (
    <button type="button" class="theme-toggle" onClick={choose} title={`Colours: ${theme}. Change to ${next}.`}>
      <svg class="shape" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
        <circle cx="8" cy="8" r="6" />
        <path class="filled" d="M8 2a6 6 0 0 1 0 12z" />
      </svg>
      <span class="visually-hidden">Colours: </span>
      {theme}
    </button>
  );
}

function apply(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event(THEME_EVENT));
}

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return THEMES.find((theme) => theme === value) ?? 'system';
  } catch {
    return 'system';
  }
}
