// Mu-law (ITU-T G.711) to samples from -1 to 1, by table.

const LINEAR = Float32Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 15) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return (bits & 0x80 ? -magnitude : magnitude) / 32768;
});

export function fromMulaw(bytes: Uint8Array, to: Float32Array): void {
  for (let n = 0; n < bytes.length; n++) to[n] = LINEAR[bytes[n] as number] as number;
}
