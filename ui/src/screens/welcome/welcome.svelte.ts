import { ask, tell } from '$lib/api/client.svelte';
import { toProblem, type Problem } from '$lib/transport';
import { router } from '$lib/route/router.svelte';
import { DONE, openStep, type Step } from './steps';

/** The frame stays empty so long for the answer whether the first start is open: a flash of the wrong screen is worse. */
const WAIT_MS = 1_000;

/** The first start: which step is open, kept by the node so that it goes on where it was left. */
class Welcome {
  step = $state.raw<Step | null>(null);
  /** Whether the node said, or takes its time. */
  known = $state(false);
  problem = $state.raw<Problem | null>(null);

  async begin(): Promise<void> {
    const { place } = router.route;
    const late = setTimeout(() => (this.known = true), WAIT_MS);
    try {
      const [{ settings }, overview] = await Promise.all([ask('settings', {}), ask('overview', {})]);
      const kept = settings.find((setting) => setting.key === 'onboarding');
      // A node that is only starting answers late; its owner may be somewhere of his own choosing by then.
      if (router.route.place === place) this.step = openStep(kept?.value, overview.traded_before);
    } catch {
      // The frame says what is wrong with the connection; set-up can be opened from Settings.
    } finally {
      clearTimeout(late);
      this.known = true;
    }
  }

  /** Opens a step, or ends the first start; what could not be kept is said, and does not hold anybody up. */
  async go(step: Step | null): Promise<void> {
    this.step = step;
    try {
      await tell('set_setting', { key: 'onboarding', value: step ?? DONE });
      this.problem = null;
    } catch (cause) {
      this.problem = toProblem(cause);
    }
  }
}

export const welcome = new Welcome();
