// Nothing on the page is true any more when the console stops telling it: better no picture than an old one.
const SILENT_MS = 2000;

export default {
  template: `
    <div v-if="lost" class="screen-lost" role="alert">
      <svg class="shape" viewBox="0 0 100 100" aria-hidden="true">
        <path class="paint-line" d="M50 5 L95 50 L50 95 L5 50 Z" />
        <path class="paint-line" d="M39 41 A11 11 0 1 1 50 54 V59 M50 71 V72" />
      </svg>
      <strong>SCREEN NOT CONNECTED</strong>
      <span>This screen has had no news for {{ seconds }} s. It goes on by itself when the console is back.</span>
    </div>
    <span v-else hidden></span>`,
  props: { beat: Number },
  data() {
    return { lost: false, seconds: 0 };
  },
  watch: {
    beat() {
      this.heard = performance.now();
      this.lost = false;
    },
  },
  created() {
    this.heard = performance.now();
    this.clock = setInterval(() => {
      const silent = performance.now() - this.heard;
      this.lost = silent > SILENT_MS;
      this.seconds = Math.floor(silent / 1000);
    }, 250);
  },
  unmounted() {
    clearInterval(this.clock);
  },
};
