/** To build a formatter takes a hundred times as long as to use it: each is built once. */
function once<Options extends object, Format>(build: (locale: string | undefined, options: Options) => Format): (locale: string | undefined, options: Options) => Format {
  const built = new Map<string, Format>();
  return (locale, options) => {
    const key = `${locale} ${JSON.stringify(options)}`;
    let format = built.get(key);
    if (!format) built.set(key, (format = build(locale, options)));
    return format;
  };
}

export const numberFormat = once((locale, options: Intl.NumberFormatOptions) => new Intl.NumberFormat(locale, options));
export const dateFormat = once((locale, options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(locale, options));
export const relativeFormat = once((locale, options: Intl.RelativeTimeFormatOptions) => new Intl.RelativeTimeFormat(locale, options));
