/** Shapes that more than one module of the live page speaks of; no code. */

/** A picture in memory: red, green and blue planes one after the other, values in [0, 1]. */
export interface Planes {
  width: number;
  height: number;
  data: Float32Array<ArrayBuffer>;
}

/** A picture for the screen: RGBA, opaque, 8 bits. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** What the first bytes of a file say. */
export interface Sniffed {
  kind: string;
  width?: number;
  height?: number;
}

export interface StyleFacts {
  name: string;
  title: string;
  artist: string;
}

export interface ModelFacts {
  kind: "style" | "upscale";
  bytes: number;
  largest: number;
  styles?: StyleFacts[];
  factor?: number;
  loss?: string;
  reach?: number;
}

export interface SampleStyle {
  file: string;
  /** The whole painting, larger. */
  whole: string;
  title: string;
  author: string;
}

export interface SamplePhoto {
  file: string;
  title: string;
  author: string;
  licence: string;
  width: number;
  height: number;
  thumb?: string;
}

export interface Samples {
  photos: SamplePhoto[];
  styles: Record<string, SampleStyle>;
}

/** A model's file, and how many bytes it has, for the progress shown. */
export interface ModelFile {
  file: string;
  bytes: number;
}

export interface StyleJob {
  type: "stylize";
  blob: Blob;
  name: string;
  key: number;
  model: ModelFile;
  largest: number;
  size: number | null;
  weights: number[];
  /** How large the strokes are: the network sees the photo at 1 / stroke of its size. */
  stroke: number;
  strength: number;
  keepColors: boolean;
}

export interface UpscaleJob {
  type: "upscale";
  blob: Blob;
  name: string;
  key: number;
  models: (ModelFile & { loss: string; reach: number })[];
  factor: number;
  size: number | null;
  largest: number;
  tile: number;
}

/** A photo for a lab: covering a square of so many pixels, or fitting into it. */
export interface PhotoJob {
  type: "photo";
  blob: Blob;
  name: string;
  side: number;
  cover: boolean;
}

/** Feature losses of a picture; `key` names the reference, whose features are kept. */
export interface FeaturesJob {
  type: "features";
  model: ModelFile;
  layers: string[];
  /** Of the graph that moves pixels, whose last layer is the only one asked for. */
  deep?: GatysGraph;
  key: string;
  reference: Planes;
  picture: Planes;
}

/** The graph that moves pixels: its layers, their channels, and how often the last one's size was halved. */
export interface GatysGraph {
  layers: string[];
  channels: number[];
  depth: number;
}

/** Gram matrices of a picture and of its copy; `key` names the picture and the layer, `version` the copy. */
export interface GramJob {
  type: "gram";
  model: ModelFile;
  layer: string;
  /** Where the layer is the last of the graph that moves pixels. */
  deep?: GatysGraph;
  key: string;
  version: string;
  reference: Planes;
  picture: Planes;
  /** Row and column among the channels that are shown. */
  cell: [number, number];
}

/** What is shown of two Gram matrices. */
export interface Grams {
  /** The loudest in the original first; `of` so many. */
  channels: number[];
  of: number;
  /** Rows and columns of these channels. */
  before: Float32Array;
  after: Float32Array;
  /** The two channels that were asked for; their maps in the original, then in the copy. */
  pair: number[];
  maps: { width: number; height: number; values: Float32Array[] };
}

/** Copies of a photo, with its margin, that have one squared error. */
export interface EqualJob {
  type: "equal";
  photo: Planes;
}

/** A copy of a photo, and what was done to it. */
export interface Copy {
  kind: string;
  words: string;
  picture: Planes;
}

/** One step that moves pixels; `key` names photo and painting, `run` the picture that is moved. */
export interface GatysJob extends GatysGraph {
  type: "gatys";
  model: ModelFile;
  key: string;
  run: string;
  photo: Planes;
  painting: Planes;
  start: "photo" | "noise";
  /** Of the style, in [0, 1], and of each layer in it. */
  style: number;
  shares: number[];
  /** Weight of the total variation, and Adam's step length. */
  smooth: number;
  rate: number;
}

/** One pass of a network that cleans a photo, or of one that fills where `mask` is 1. */
export interface RepairJob {
  type: "repair";
  model: ModelFile;
  photo: Planes;
  mask?: Float32Array<ArrayBuffer>;
}

/** Files of VGG-16 that go on from each other, and the layers of each, the deepest last. */
export type Stages = (ModelFile & { layers: string[] })[];

/** A picture to its code at a layer and back; without a drawer only how far it is from the photo, which `key` names. */
export interface KnowsJob {
  type: "knows";
  key: string;
  photo: Planes;
  picture: Planes;
  layer: string;
  drawer?: ModelFile;
  stages: Stages;
  judges: string[];
}

/** A photo with the statistics of a painting; `key` and `style` name the two, at their sizes. */
export interface RestyleJob {
  type: "restyle";
  key: string;
  style: string;
  photo: Planes;
  painting: Planes;
  /** From the deep to the shallow. */
  layers: string[];
  stages: Stages;
  decoders: Record<string, ModelFile>;
  statistics: "covariance" | "deviation";
  share: number;
}

/** Faces of codes, by decoder: N codes of so many numbers each. */
export interface DecodeJob {
  type: "decode";
  model: ModelFile;
  codes: Record<string, Float32Array<ArrayBuffer>>;
  length: number;
}

/** One step from noise to faces, from time t to the one after; the label `classes` is none. */
export interface FlowJob {
  type: "flow";
  model: ModelFile;
  /** (N, 3, size, size), centred. */
  x: Float32Array<ArrayBuffer>;
  size: number;
  classes: number;
  label: number;
  guidance: number;
  t: number;
  after: number;
  heun: boolean;
}

/** models/faces.json: of each decoder the codes of faces, vectors of attributes, and the Gaussian fitted to all codes. */
export interface FaceCodes {
  names: string[];
  titles: Record<string, string>;
  networks: Record<string, { codes: number[][]; vectors: number[][]; mean: number[]; factor: number[] }>;
}

export type LabJob = DecodeJob | FlowJob | KnowsJob | RestyleJob | PhotoJob | EqualJob | FeaturesJob | GramJob | GatysJob | RepairJob;
export type Job = StyleJob | UpscaleJob | LabJob;

/** models/labs.json: the loss network's files. */
export interface LabFacts {
  features: ModelFile & { layers: string[] };
  gatys: ModelFile & GatysGraph;
  /** Of chapter 7: what fills holes, and what cleans. */
  inpaint_pixel: ModelFile;
  inpaint_combined: ModelFile;
  denoise_pixel: ModelFile;
  denoise_combined: ModelFile;
  /** What further labs draw with. */
  [name: string]: ModelFile;
  faces: ModelFile & { about: string; picture: string; ends: number; size: number };
  flow: ModelFile & { size: number; classes: string[]; sharpness: number };
}

/** What is under way: a file coming in, a picture being decoded, a network at work. */
export interface Progress {
  stage: "download" | "decode" | "compute";
  done: number;
  total: number;
  what?: string;
}

export interface Outcome {
  /** The photo at the size that was asked for. */
  before?: Pixels;
  after?: Pixels;
  /** Of an enlargement: by loss, and "bicubic". */
  enlarged?: Record<string, Pixels>;
  /** Of a lab. */
  planes?: Planes;
  losses?: number[];
  /** Of a code that was drawn: its shape. */
  code?: number[];
  gram?: Grams;
  copies?: Copy[];
  /** By decoder, (N, 3, size, size). */
  faces?: Record<string, Float32Array<ArrayBuffer>>;
  /** Where a step leads, and the estimate at its beginning. */
  step?: { x: Float32Array<ArrayBuffer>; estimate: Float32Array<ArrayBuffer> };
  /** Seconds in the network alone; 0 when only the strength has changed. */
  seconds: number;
  threads: number;
  original?: { width: number; height: number };
  /** Of the strokes, not finer than the largest picture that a network is given allows. */
  stroke?: number;
}

export type ProblemKind = "input" | "network" | "memory" | "unsupported" | "broken" | "cancelled";

export type FromWorker =
  | { type: "ready" }
  | ({ type: "progress"; id: number } & Progress)
  | { type: "result"; id: number; outcome: Outcome }
  | { type: "problem"; id: number; kind: ProblemKind; message: string };

/** The little of a service worker's world that is used; its library cannot be loaded beside that of pages. */
export interface Clients {
  claim(): Promise<void>;
  matchAll(options: { includeUncontrolled: boolean }): Promise<{ url: string; postMessage(message: unknown): void }[]>;
}

interface Lasting extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface Fetching extends Event {
  request: Request;
  respondWith(answer: Promise<Response>): void;
}

export interface ServiceWorkerScope {
  clients: Clients;
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: Lasting) => void): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: Fetching) => void): void;
}

/** flip.json: pictures of several networks of the same photographs, and their numbers. */
export interface FlipFacts {
  photos: Record<string, { title: string; credit: string; alt: string }>;
  tasks: Record<string, FlipTask>;
}

export interface FlipTask {
  name: string;
  words: string;
  /** The two views that are shown first. */
  first: [string, string];
  /** Prints, which have no picture that is right. */
  style: boolean;
  /** Names by key. */
  views: Record<string, string>;
  /** By photo and view: PSNR and distance, or what is lost of photo and painting. */
  numbers: Record<string, Record<string, Record<string, number>>>;
}
