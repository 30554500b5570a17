import { parseRoute, type Route } from './route';

class Router {
  route = $state.raw<Route>(parseRoute(window.location.hash));

  constructor() {
    window.addEventListener('hashchange', () => {
      this.route = parseRoute(window.location.hash);
    });
  }

  go(address: string): void {
    window.location.hash = address;
  }
}

export const router = new Router();
