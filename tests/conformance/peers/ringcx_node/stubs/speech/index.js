// A recogniser that only counts: one line for each hundred pieces of audio and one at the end, of each recogniser.
const { Writable } = require("stream");

let made = 0;

exports.SpeechClient = class {
  streamingRecognize() {
    const number = made++;
    let bytes = 0;
    let pieces = 0;
    const stream = new Writable({
      decodeStrings: false,
      write(chunk, _encoding, done) {
        bytes += Buffer.from(chunk, "base64").length;
        pieces += 1;
        if (pieces % 10 === 0) console.log(JSON.stringify({ recogniser: number, bytes, ended: false }));
        done();
      },
      final(done) {
        console.log(JSON.stringify({ recogniser: number, bytes, ended: true }));
        done();
      },
    });
    return stream;
  }
};
