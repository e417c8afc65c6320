import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * A host of one function, beatDetectionClassification, in plain Java: the contract is in
 * docs/reference/function-host.md.
 *
 * <pre>
 *   java BeatDetection.java 8127            # at this machine's own address; 0 takes a free port
 *   einthoven functions check http://127.0.0.1:8127
 * </pre>
 *
 * A second argument is another address to listen at, which needs the environment variable FUNCTIONS_TOKEN.
 * Answers are not remembered by their key: the function gives the same ones again, and takes milliseconds.
 */
public final class BeatDetection {
    private static final String NAME = "beatDetectionClassification";
    private static final String VERSION = "java-1.0";
    private static final int SLOTS = Math.max(2, Runtime.getRuntime().availableProcessors());
    private static final long WAIT_MS = 2000;
    private static final int BODY_MAX = 64 << 20;
    private static final String TOKEN = System.getenv("FUNCTIONS_TOKEN");

    private static final Semaphore slots = new Semaphore(SLOTS, true);
    private static volatile boolean isDraining = false;

    public static void main(String[] arguments) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // or each answer waits 40 ms
        int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 8127;
        InetAddress host = InetAddress.getByName(arguments.length > 1 ? arguments[1] : "127.0.0.1");
        if (!host.isLoopbackAddress() && TOKEN == null) {
            System.err.println("Others could call: set FUNCTIONS_TOKEN.");
            System.exit(2);
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 256);
        server.setExecutor(Executors.newFixedThreadPool(64));
        server.createContext("/", BeatDetection::serve);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            isDraining = true; // new calls get 503, and what is under way is finished
            try {
                slots.tryAcquire(SLOTS, 30, TimeUnit.SECONDS);
                Thread.sleep(500);
            } catch (InterruptedException ends) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(0);
        }));
        server.start();
        System.out.println("http://" + host.getHostAddress() + ":" + server.getAddress().getPort());
    }

    // ---------------------------------------------------------------- HTTP

    /** Why there is no answer. No text holds a value of the question. */
    private static final class Problem extends Exception {
        final int status;

        Problem(int status, String detail) {
            super(detail, null, false, false);
            this.status = status;
        }
    }

    private static void serve(HttpExchange exchange) throws IOException {
        try {
            route(exchange);
        } catch (Problem problem) {
            tell(exchange, problem.status, problem.getMessage());
        } catch (RuntimeException | StackOverflowError error) {
            tell(exchange, 500, "the function broke: " + error.getClass().getSimpleName());
        } finally {
            exchange.close();
        }
    }

    private static void route(HttpExchange exchange) throws IOException, Problem {
        String path = exchange.getRequestURI().getPath();
        String method = exchange.getRequestMethod();
        if (path.startsWith("/functions/")) {
            identify(exchange);
            if (!path.equals("/functions/" + NAME)) {
                throw new Problem(404, "there is no such function here");
            }
            if (!method.equals("POST")) {
                throw new Problem(405, "functions are called with POST");
            }
            call(exchange);
        } else if (path.equals("/functions") && method.equals("GET")) {
            identify(exchange);
            say(exchange, 200, "application/json", "{\"functions\":[{\"name\":\"" + NAME + "\",\"version\":\"" + VERSION
                + "\",\"memory_mb\":256,\"timeout_s\":10.0,\"language\":\"Java\"}],\"slots\":" + SLOTS
                + ",\"is_draining\":" + isDraining + ",\"encodings\":[\"json\"]}");
        } else if (path.equals("/healthz") && method.equals("GET")) {
            say(exchange, 200, "application/json", "{\"status\":\"alive\"}");
        } else if (path.equals("/readyz") && method.equals("GET")) {
            if (isDraining) {
                throw new Problem(503, "this host finishes what it has");
            }
            say(exchange, 200, "application/json", "{\"status\":\"ready\"}");
        } else {
            throw new Problem(404, "there is nothing at this path");
        }
    }

    private static void identify(HttpExchange exchange) throws Problem {
        if (TOKEN == null) {
            return;
        }
        String given = exchange.getRequestHeaders().getFirst("Authorization");
        byte[] wanted = ("Bearer " + TOKEN).getBytes(StandardCharsets.UTF_8);
        if (given == null || !MessageDigest.isEqual(given.getBytes(StandardCharsets.UTF_8), wanted)) {
            throw new Problem(401, "the bearer token is missing or unknown");
        }
    }

    private static void call(HttpExchange exchange) throws IOException, Problem {
        if (isDraining) {
            throw new Problem(503, "this host finishes what it has, and takes nothing new");
        }
        String type = exchange.getRequestHeaders().getFirst("Content-Type");
        String coding = exchange.getRequestHeaders().getFirst("Content-Encoding");
        if (type == null || !type.split(";")[0].trim().equalsIgnoreCase("application/json") || coding != null) {
            throw new Problem(415, "only application/json is read, not compressed");
        }
        String text = body(exchange);
        String answer;
        long busy;
        try {
            if (!slots.tryAcquire(WAIT_MS, TimeUnit.MILLISECONDS)) {
                throw new Problem(429, "as many calls as may are under way");
            }
        } catch (InterruptedException ends) {
            throw new Problem(503, "this host ends");
        }
        try {
            long began = System.nanoTime();
            answer = performed(text);
            busy = System.nanoTime() - began;
        } finally {
            slots.release();
        }
        exchange.getResponseHeaders().set("Server-Timing", "busy;dur=" + busy / 1000 / 1000.0);
        say(exchange, 200, "application/json", answer);
    }

    private static String body(HttpExchange exchange) throws IOException, Problem {
        String length = exchange.getRequestHeaders().getFirst("Content-Length");
        if (length != null && Long.parseLong(length) > BODY_MAX) {
            throw new Problem(413, "the body has more than " + BODY_MAX + " bytes");
        }
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        byte[] piece = new byte[1 << 16];
        InputStream stream = exchange.getRequestBody();
        for (int size = stream.read(piece); size >= 0; size = stream.read(piece)) {
            if (content.size() + size > BODY_MAX) {
                throw new Problem(413, "the body has more than " + BODY_MAX + " bytes");
            }
            content.write(piece, 0, size);
        }
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content.toByteArray())).toString();
        } catch (CharacterCodingException error) {
            throw new Problem(400, "the body is not UTF-8");
        }
    }

    private static void tell(HttpExchange exchange, int status, String detail) throws IOException {
        if (status == 429 || status == 503) {
            exchange.getResponseHeaders().set("Retry-After", "1");
        }
        if (status == 401) {
            exchange.getResponseHeaders().set("WWW-Authenticate", "Bearer");
        }
        String title = status >= 500 ? "No answer" : "Refused";
        String kind = status == 500 ? "function" : status == 413 ? "payload"
            : status == 429 || status == 503 ? "throttled" : "refused";
        say(exchange, status, "application/problem+json", "{\"title\":\"" + title + "\",\"status\":" + status
            + ",\"detail\":\"" + detail + "\",\"kind\":\"" + kind + "\"}");
    }

    private static void say(HttpExchange exchange, int status, String type, String text) throws IOException {
        byte[] content = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(status, content.length);
        exchange.getResponseBody().write(content);
    }

    // ---------------------------------------------------------------- the function

    /** The ECG object with its section beats; all other sections are copied as they were written. */
    private static String performed(String text) throws Problem {
        Map<String, String> inputs = Json.members(text, "the body");
        if (!Json.isNull(inputs.get("ecgDataFilePath")) || !Json.isNull(inputs.get("state"))) {
            throw new Problem(422, "this host has no object store, and keeps no state");
        }
        if (Json.isNull(inputs.get("ecg"))) {
            throw new Problem(422, "ecg is missing");
        }
        Map<String, String> ecg = Json.members(inputs.get("ecg"), "ecg");
        if (Json.isNull(ecg.get("cleaned"))) {
            throw new Problem(422, "cleaned is missing: run preprocessing first");
        }
        Map<String, String> cleaned = Json.members(ecg.get("cleaned"), "cleaned");
        double fs = ecg.containsKey("fs") ? Json.number(ecg.get("fs"), "fs") : 125.0;
        long[] first = Json.integers("[" + cleaned.get("first") + "]", "cleaned.first");
        long[] fresh = Json.integers("[" + cleaned.get("fresh") + "]", "cleaned.fresh");
        long[] samples = Json.integers(cleaned.getOrDefault("samples", ""), "cleaned.samples");
        List<Beat> beats = new Detector(samples).beats();
        beats.removeIf(beat -> first[0] + beat.at < fresh[0]);

        Map<String, String> versions = new LinkedHashMap<>();
        if (!Json.isNull(ecg.get("versions"))) {
            versions.putAll(Json.members(ecg.get("versions"), "versions"));
        }
        versions.put("bdc", "\"" + VERSION + "\"");
        ecg.put("versions", Json.object(versions));
        ecg.put("beats", section(beats, first[0], fresh[0], first[0] + samples.length, fs));
        return "{\"ecg\":" + Json.object(ecg) + ",\"ecgDataFilePath\":null}";
    }

    private static String section(List<Beat> beats, long first, long since, long until, double fs) {
        Map<String, long[]> columns = new LinkedHashMap<>();
        columns.put("positions", column(beats, beat -> (long) Math.floor((first + beat.at) * fs / 125 + 0.5)));
        columns.put("classes", column(beats, beat -> beat.isVentricular ? 2 : 0));
        columns.put("confidences", column(beats, beat -> beat.agreement));
        columns.put("grid", column(beats, beat -> first + beat.at));
        columns.put("morphology", column(beats, beat -> beat.isVentricular ? 2 : 0));
        columns.put("agreement", column(beats, beat -> beat.agreement));
        columns.put("p_wave", column(beats, beat -> beat.pWave));
        columns.put("p_shape", beats.stream().flatMapToLong(beat -> Arrays.stream(beat.pShape)).toArray());
        columns.put("widths_ms", column(beats, beat -> beat.widthMs));
        columns.put("amplitudes_uv", column(beats, beat -> beat.amplitudeUv));
        columns.put("grades", new long[beats.size()]);
        Map<String, String> written = new LinkedHashMap<>();
        columns.forEach((name, values) -> written.put(name, Arrays.toString(values).replace(" ", "")));
        return "{\"since\":" + since + ",\"until\":" + until + ",\"beats\":" + Json.object(written)
            + ",\"intervals\":[]}";
    }

    private static long[] column(List<Beat> beats, java.util.function.ToLongFunction<Beat> value) {
        return beats.stream().mapToLong(value).toArray();
    }

    private static final class Beat {
        final int at;
        int agreement = 100;
        int widthMs;
        int amplitudeUv;
        int pWave;
        long[] pShape = new long[4];
        boolean isVentricular;

        Beat(int at) {
            this.at = at;
        }
    }

    /**
     * QRS complexes after Pan and Tompkins, IEEE Trans. Biomed. Eng. 32(3), 1985, doi:10.1109/TBME.1985.325532.
     *
     * Deviations: the signal comes filtered; the filters are centred, so nothing is delayed; the levels start from
     * the median of each second's largest energy, so that one spike does not set them; a deflection of less than
     * 0.1 mV is no beat. Classes are rough: V is a beat that comes early and does not look like those before it.
     */
    private static final class Detector {
        static final int FS = 125;
        static final int WINDOW = 9; // energy is the mean of 19 samples, 152 ms
        static final int REFRACTORY = 25; // 200 ms
        static final int T_WAVE = 45; // 360 ms
        static final int QRS = 8; // 64 ms
        static final int LEAST = 20; // units of 5 µV
        static final int P_POINTS = 12;
        static final double EARLY = 0.85;
        static final int UNLIKE = 60;

        final double[] x;
        final double[] slope;
        final double[] energy;

        Detector(long[] samples) {
            int n = samples.length;
            x = new double[n];
            slope = new double[n];
            energy = new double[n];
            for (int i = 0; i < n; i++) {
                x[i] = samples[i];
            }
            double[] sums = new double[n + 1];
            for (int i = 0; i < n; i++) {
                slope[i] = (2 * at(i + 2) + at(i + 1) - at(i - 1) - 2 * at(i - 2)) / 8;
                sums[i + 1] = sums[i] + slope[i] * slope[i];
            }
            for (int i = 0; i < n; i++) {
                int from = Math.max(0, i - WINDOW);
                int to = Math.min(n, i + WINDOW + 1);
                energy[i] = (sums[to] - sums[from]) / (2 * WINDOW + 1);
            }
        }

        double at(int i) {
            return x[Math.max(0, Math.min(x.length - 1, i))];
        }

        List<Beat> beats() {
            List<Integer> peaks = peaks();
            List<Beat> beats = new ArrayList<>();
            double signal = level();
            double noise = 0.1 * signal;
            double interval = FS;
            int last = -FS;
            int looked = 0; // peaks before this one may not be looked at again
            for (int k = 0; k < peaks.size(); k++) {
                int peak = peaks.get(k);
                double threshold = noise + 0.25 * (signal - noise);
                if (peak - last > 1.66 * interval && !beats.isEmpty()) { // search back
                    int missed = -1;
                    for (int j = looked; j < k; j++) {
                        int other = peaks.get(j);
                        if (other - last > REFRACTORY && energy[other] > threshold / 2
                            && (missed < 0 || energy[other] > energy[missed])) {
                            missed = other;
                        }
                    }
                    if (missed >= 0 && isBeat(missed, last)) {
                        interval += 0.125 * (missed - last - interval);
                        signal += 0.25 * (energy[missed] - signal);
                        last = add(beats, missed);
                        looked = k;
                    }
                }
                if (energy[peak] > threshold && peak - last > REFRACTORY && isBeat(peak, last)) {
                    if (!beats.isEmpty()) {
                        interval += 0.125 * (Math.min(peak - last, 2 * interval) - interval);
                    }
                    signal += 0.125 * (energy[peak] - signal);
                    last = add(beats, peak);
                    looked = k + 1;
                } else {
                    noise += 0.125 * (Math.min(energy[peak], signal) - noise);
                }
            }
            describe(beats);
            return beats;
        }

        /** Largest energies within 200 ms to both sides. */
        List<Integer> peaks() {
            List<Integer> found = new ArrayList<>();
            for (int i = 0; i < energy.length; i++) {
                boolean isPeak = energy[i] > 0;
                for (int j = Math.max(0, i - REFRACTORY); isPeak && j <= Math.min(x.length - 1, i + REFRACTORY); j++) {
                    isPeak = j < i ? energy[j] < energy[i] : energy[j] <= energy[i];
                }
                if (isPeak) {
                    found.add(i);
                }
            }
            return found;
        }

        double level() {
            double[] largest = new double[(energy.length + FS - 1) / FS];
            for (int i = 0; i < energy.length; i++) {
                largest[i / FS] = Math.max(largest[i / FS], energy[i]);
            }
            Arrays.sort(largest);
            return largest.length == 0 ? 0 : largest[largest.length / 2];
        }

        boolean isBeat(int peak, int last) {
            double low = Double.MAX_VALUE;
            double high = -Double.MAX_VALUE;
            for (int i = peak - 12; i <= peak + 12; i++) {
                low = Math.min(low, at(i));
                high = Math.max(high, at(i));
            }
            boolean isTWave = peak - last < T_WAVE && last >= 0 && steepest(peak) < 0.5 * steepest(last);
            return high - low >= LEAST && !isTWave;
        }

        double steepest(int centre) {
            double most = 0;
            for (int i = Math.max(0, centre - 12); i <= Math.min(x.length - 1, centre + 12); i++) {
                most = Math.max(most, Math.abs(slope[i]));
            }
            return most;
        }

        /** A beat where the largest deflection is; gives where the energy peaks. */
        int add(List<Beat> beats, int peak) {
            int best = peak;
            for (int i = Math.max(0, peak - QRS); i <= Math.min(x.length - 1, peak + QRS); i++) {
                best = Math.abs(x[i]) > Math.abs(x[best]) ? i : best;
            }
            if (beats.isEmpty() || best > beats.get(beats.size() - 1).at) {
                beats.add(new Beat(best));
            }
            return peak;
        }

        void describe(List<Beat> beats) {
            double[] template = null;
            double[] atrial = null;
            double amplitude = 0;
            double interval = 0;
            for (int k = 0; k < beats.size(); k++) {
                Beat beat = beats.get(k);
                beat.amplitudeUv = (int) Math.round(5 * Math.abs(x[beat.at]));
                beat.widthMs = width(beat.at);
                double[] shape = new double[2 * QRS + 1];
                for (int i = 0; i < shape.length; i++) {
                    shape[i] = at(beat.at - QRS + i);
                }
                double before = k > 0 ? beat.at - beats.get(k - 1).at : 0;
                if (template != null) {
                    beat.agreement = (int) Math.round(100 * Math.max(0, likeness(shape, template)));
                    beat.isVentricular = before < EARLY * interval && beat.agreement < UNLIKE;
                }
                double[] zone = new double[P_POINTS];
                for (int i = 0; i < P_POINTS; i++) {
                    int point = beat.at - 31 + 2 * i;
                    zone[i] = point < 0 ? 0 : x[point];
                }
                amplitude = amplitude == 0 ? beat.amplitudeUv / 5.0 : amplitude;
                beat.pWave = atrial == null ? 100 : (int) Math.round(100 * likeness(zone, atrial));
                beat.pShape = cosines(zone, Math.max(LEAST, amplitude));
                if (!beat.isVentricular) {
                    amplitude += 0.25 * (beat.amplitudeUv / 5.0 - amplitude);
                    atrial = atrial == null ? zone.clone() : atrial;
                    for (int i = 0; i < P_POINTS; i++) {
                        atrial[i] += 0.25 * (zone[i] - atrial[i]);
                    }
                    template = template == null ? shape.clone() : template;
                    for (int i = 0; i < shape.length; i++) {
                        template[i] += 0.25 * (shape[i] - template[i]);
                    }
                    interval = interval == 0 ? before : interval + 0.25 * (before - interval);
                }
            }
        }

        /** The P zone, -248 to -72 ms, as four cosine coefficients, in 1/400 of the patient's QRS amplitude. */
        static long[] cosines(double[] zone, double amplitude) {
            long[] found = new long[4];
            for (int k = 0; k < found.length; k++) {
                double sum = 0;
                for (int i = 0; i < zone.length; i++) {
                    sum += Math.cos(Math.PI * (k + 1) * (i + 0.5) / zone.length) / 6 * zone[i];
                }
                found[k] = Math.max(-127, Math.min(127, Math.round(400 * sum / amplitude)));
            }
            return found;
        }

        int width(int centre) {
            double least = 0.25 * steepest(centre);
            int from = centre;
            int to = centre;
            for (int i = Math.max(0, centre - 12); i <= Math.min(x.length - 1, centre + 12); i++) {
                if (Math.abs(slope[i]) >= least) {
                    from = Math.min(from, i);
                    to = Math.max(to, i);
                }
            }
            return 1000 * (to - from) / FS;
        }

        static double likeness(double[] a, double[] b) {
            double meanA = Arrays.stream(a).average().orElse(0);
            double meanB = Arrays.stream(b).average().orElse(0);
            double ab = 0;
            double aa = 0;
            double bb = 0;
            for (int i = 0; i < a.length; i++) {
                ab += (a[i] - meanA) * (b[i] - meanB);
                aa += (a[i] - meanA) * (a[i] - meanA);
                bb += (b[i] - meanB) * (b[i] - meanB);
            }
            return aa == 0 || bb == 0 ? 0 : ab / Math.sqrt(aa * bb);
        }
    }

    // ---------------------------------------------------------------- JSON

    /** As much JSON as is needed: objects become the texts of their members, so that they can be written as they came. */
    private static final class Json {
        static final int DEPTH = 64;
        final String text;
        int at = 0;

        Json(String text) {
            this.text = text;
        }

        static boolean isNull(String value) {
            return value == null || value.equals("null");
        }

        static String object(Map<String, String> members) {
            StringBuilder written = new StringBuilder("{");
            members.forEach((name, value) -> written.append(written.length() > 1 ? "," : "").append('"').append(name)
                .append("\":").append(value));
            return written.append('}').toString();
        }

        /** Names, as they are written, and values of an object; its whole text is checked. */
        static Map<String, String> members(String text, String where) throws Problem {
            Json json = new Json(text);
            Map<String, String> found = new LinkedHashMap<>();
            json.space();
            boolean isObject = json.peek() == '{';
            json.value(0, isObject ? found : null);
            json.space();
            if (json.at < text.length()) {
                throw new Problem(400, "something follows the object");
            }
            if (!isObject) {
                throw new Problem(422, where + " is no object");
            }
            return found;
        }

        static double number(String text, String where) throws Problem {
            try {
                return Double.parseDouble(text);
            } catch (NumberFormatException error) {
                throw new Problem(422, where + " is no number");
            }
        }

        static long[] integers(String text, String where) throws Problem {
            if (!text.startsWith("[") || !text.endsWith("]")) {
                throw new Problem(422, where + " is no list");
            }
            long[] found = new long[16];
            int count = 0;
            int i = 1;
            int end = text.length() - 1;
            while (i < end) {
                int comma = text.indexOf(',', i);
                int stop = comma < 0 ? end : comma;
                String word = text.substring(i, stop).trim();
                i = stop + 1;
                if (word.isEmpty() && count == 0 && comma < 0) {
                    break;
                }
                if (count == found.length) {
                    found = Arrays.copyOf(found, 2 * count);
                }
                try {
                    found[count++] = Long.parseLong(word);
                } catch (NumberFormatException error) {
                    throw new Problem(422, where + " is no list of integers");
                }
            }
            return Arrays.copyOf(found, count);
        }

        char peek() throws Problem {
            if (at >= text.length()) {
                throw new Problem(400, "the body ends too early");
            }
            return text.charAt(at);
        }

        void space() {
            while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
        }

        void expect(char wanted) throws Problem {
            if (peek() != wanted) {
                throw new Problem(400, "the body is not JSON");
            }
            at++;
        }

        /** Go behind a value; of an object the members are noted where that is asked for. */
        void value(int depth, Map<String, String> noted) throws Problem {
            if (depth > DEPTH) {
                throw new Problem(400, "the body is nested too deeply");
            }
            space();
            switch (peek()) {
                case '{' -> series('}', depth, noted);
                case '[' -> series(']', depth, null);
                case '"' -> string();
                default -> word();
            }
        }

        void series(char end, int depth, Map<String, String> noted) throws Problem {
            at++;
            space();
            if (peek() == end) {
                at++;
                return;
            }
            while (true) {
                String name = "";
                if (end == '}') {
                    space();
                    int from = at;
                    string();
                    name = text.substring(from + 1, at - 1);
                    space();
                    expect(':');
                    space();
                }
                int from = at;
                value(depth + 1, null);
                if (noted != null) {
                    noted.put(name, text.substring(from, at));
                }
                space();
                if (peek() == end) {
                    at++;
                    return;
                }
                expect(',');
            }
        }

        void string() throws Problem {
            expect('"');
            while (peek() != '"') {
                if (peek() < ' ') {
                    throw new Problem(400, "the body is not JSON");
                }
                at += peek() == '\\' ? 2 : 1;
            }
            at++;
        }

        void word() throws Problem {
            int from = at;
            while (at < text.length() && "+-.0123456789abcdefghijklmnopqrstuvwxyzE".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            String word = text.substring(from, at);
            boolean isNumber = word.length() < 20 && isDigits(word, word.startsWith("-") ? 1 : 0)
                || word.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
            if (!isNumber && !word.equals("null") && !word.equals("true") && !word.equals("false")) {
                throw new Problem(400, "the body is not JSON");
            }
        }

        static boolean isDigits(String word, int from) {
            if (word.length() == from || word.length() > from + 1 && word.charAt(from) == '0') {
                return false;
            }
            for (int i = from; i < word.length(); i++) {
                if (word.charAt(i) < '0' || word.charAt(i) > '9') {
                    return false;
                }
            }
            return true;
        }
    }
}
