import { untrack } from 'svelte';
import { askAgain, Live } from './client.svelte';

/** The node at a glance, open as long as the window is: rail, banner and overview read it. */
export const node = new Live('watch_overview');

$effect.root(() => {
  $effect(() => {
    if (node.data && !node.problem) untrack(askAgain);
  });
});
