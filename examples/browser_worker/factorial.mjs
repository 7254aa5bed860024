// A function that calls itself. Any page of the group can be offered the call.

// show: prints a line. pause: milliseconds that a step takes.
export function factorialOf(show, pause) {
  async function multiply(n, below) {
    show(`${n} * ${below}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
    return n * below;
  }

  return function* factorial(ctx, n) {
    const below = n <= 1 ? 1 : yield ctx.rpc("factorial", n - 1);
    const product = yield ctx.run(multiply, n, below);
    show(`factorial of ${n} is ${product}`);
    return product;
  };
}
