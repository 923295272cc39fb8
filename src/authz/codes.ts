/** The gRPC codes that a check answers with; every one but OK denies. */
export const CODE_OK = 0;
export const CODE_INVALID_ARGUMENT = 3;
export const CODE_PERMISSION_DENIED = 7;
export const CODE_INTERNAL = 13;
export const CODE_UNAVAILABLE = 14;

export type Code =
  | typeof CODE_OK
  | typeof CODE_INVALID_ARGUMENT
  | typeof CODE_PERMISSION_DENIED
  | typeof CODE_INTERNAL
  | typeof CODE_UNAVAILABLE;

export type CodeName = 'OK' | 'INVALID_ARGUMENT' | 'PERMISSION_DENIED' | 'INTERNAL' | 'UNAVAILABLE';

export function codeName(code: Code): CodeName {
  switch (code) {
    case CODE_OK:
      return 'OK';
    case CODE_INVALID_ARGUMENT:
      return 'INVALID_ARGUMENT';
    case CODE_PERMISSION_DENIED:
      return 'PERMISSION_DENIED';
    case CODE_INTERNAL:
      return 'INTERNAL';
    case CODE_UNAVAILABLE:
      return 'UNAVAILABLE';
    default:
      return code satisfies never;
  }
}
