// A live picture and the boxes that belong to it. Two <img> take turns: the next picture is loaded and decoded
// out of sight, then picture and boxes change in the same frame. A picture that cannot be loaded is skipped.
const LATE_MS = 3000;

export default {
  template: `
    <div class="stage">
      <div v-if="picture" class="frame" :style="{ '--ratio': ratio }">
        <img v-for="side in 2" :key="side" ref="sides" class="live"
          :class="{ front: front === side - 1 && !late }"
          :alt="front === side - 1 ? alt : ''" :aria-hidden="front !== side - 1" draggable="false" />
        <template v-if="!late">
          <svg class="marks" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
            <g v-for="(one, index) in shown" :key="index">
              <rect class="halo" :x="one.x" :y="one.y" :width="one.width" :height="one.height" />
              <rect class="edge" :x="one.x" :y="one.y" :width="one.width" :height="one.height" />
            </g>
          </svg>
          <span v-for="(one, index) in shown" :key="'text' + index" class="mark-text" :style="textPlace(one)">
            {{ one.text }}
          </span>
        </template>
        <span v-if="late" class="late" role="status">The picture does not arrive</span>
      </div>
    </div>`,
  props: { picture: Object, alt: String },
  data() {
    return { front: 0, ratio: 1.25, shown: [], late: false };
  },
  watch: {
    picture() {
      this.behind ??= performance.now();
      this.$nextTick(() => this.follow());
    },
  },
  created() {
    this.behind = null; // since when a picture is wanted and not shown
    this.loading = false;
    this.clock = setInterval(() => {
      this.late = this.behind !== null && performance.now() - this.behind > LATE_MS;
    }, 500);
  },
  mounted() {
    if (this.picture) this.behind = performance.now();
    this.follow();
  },
  unmounted() {
    clearInterval(this.clock);
  },
  methods: {
    async follow() {
      if (this.loading) return;
      this.loading = true;
      let tried = null;
      while (this.picture && this.picture !== tried) {
        tried = this.picture;
        await this.load(tried);
      }
      this.loading = false;
      if (!this.picture) {
        this.shown = [];
        this.behind = null;
        this.late = false;
      }
    },
    async load(picture) {
      const side = 1 - this.front;
      const img = this.$refs.sides?.[side];
      if (!img) return;
      img.src = picture.src;
      try {
        await img.decode();
      } catch {
        return; // too old by now, or the camera went; the next one is on its way
      }
      if (!this.picture) return;
      this.ratio = img.naturalWidth / img.naturalHeight;
      this.front = side;
      this.shown = picture.found;
      this.behind = picture === this.picture ? null : performance.now();
      this.late = false;
    },
    textPlace(one) {
      const below = one.y < 0.12;
      const right = one.x > 0.6;
      return {
        [right ? "right" : "left"]: `${100 * (right ? 1 - one.x - one.width : one.x)}%`,
        [below ? "top" : "bottom"]: `${100 * (below ? one.y + one.height : 1 - one.y)}%`,
      };
    },
  },
};
