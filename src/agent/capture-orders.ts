/** What the two threads of a capture child say to each other; packets go through the ring. */

export type CaptureOrder =
  | {
      readonly kind: 'capture';
      readonly ring: SharedArrayBuffer;
      readonly interfaces: readonly string[];
      readonly filter: string;
      readonly snapBytes: number;
      readonly captureBytes: number;
    }
  | { readonly kind: 'stop' };

export type CaptureNews =
  | {
      readonly kind: 'interface';
      /** In `interfaces` of the order. */
      readonly index: number;
      readonly isOpen: boolean;
      /** It makes no sense to try again. */
      readonly isFinal?: boolean;
      readonly trouble?: string;
    }
  /** Nothing is put into the ring any more. */
  | { readonly kind: 'stopped' };
