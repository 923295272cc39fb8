/** Entry of the report: reads the data that `margay verify --report` put into the page. */

import '../shared/tokens.css';
import '../shared/base.css';
import '../shared/parts.css';
import './report.css';
import { render } from 'preact';
import type { ReportData } from '../../analyze/report-data.ts';
import { Report } from './report.tsx';

// Paper cannot be opened: what is folded up is printed all the same.
addEventListener('beforeprint', () => {
  for (const folded of document.querySelectorAll('details')) folded.open = true;
});

const data = JSON.parse(document.getElementById('report-data')?.textContent ?? 'null') as ReportData | null;
render(
  data === null ? (
    <p class="empty">This is the empty form of a report. margay verify --report FILE fills it.</p>
  ) : (
    <Report data={data} />
  ),
  document.getElementById('app')!,
);
