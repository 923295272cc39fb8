/** Entry of the agent's page. */

import 'uplot/dist/uPlot.min.css';
import '../shared/tokens.css';
import '../shared/base.css';
import '../shared/parts.css';
import './page.css';
import { render } from 'preact';
import { ApiClient } from './api-client.ts';
import { App } from './app.tsx';
import { LiveFeed } from './live.ts';
import { applyStoredTheme } from './theme.tsx';

applyStoredTheme();
const client = new ApiClient();
const feed = new LiveFeed(client);
feed.start();
render(<App client={client} feed={feed} />, document.getElementById('app')!);
