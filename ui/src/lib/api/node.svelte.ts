import { Live } from './client.svelte';

/** The node at a glance, open as long as the window is: rail, banner and overview read it. */
export const node = new Live('watch_overview');
