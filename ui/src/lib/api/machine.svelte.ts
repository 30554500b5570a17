import { Live } from './client.svelte';

/** The machine live, for the rail and the overview: looked at only while the window is seen, since looking costs. */
export const machine = new Live('watch_machine');

document.addEventListener('visibilitychange', () => {
  if (document.hidden) machine.stop();
  else machine.resume();
});
