import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command line tools one after the other in one JVM, because starting one for each costs more than
 * the tools do. {@code ToolDriver STEPS NAME=VALUE...} reads steps (see steps.txt), replaces ${NAME}, and prints for
 * each step a line "### name: status" followed by what the tool printed.
 */
public class ToolDriver {
    static final Map<String, String> TOOLS = new HashMap<>();
    static final long TIMEOUT_S = 40;

    static {
        String tools = "org.apache.kafka.tools.";
        TOOLS.put("kafka-topics", tools + "TopicCommand");
        TOOLS.put("kafka-configs", "kafka.admin.ConfigCommand");
        TOOLS.put("kafka-console-producer", tools + "ConsoleProducer");
        TOOLS.put("kafka-console-consumer", tools + "consumer.ConsoleConsumer");
        TOOLS.put("kafka-producer-perf-test", tools + "ProducerPerformance");
        TOOLS.put("kafka-get-offsets", tools + "GetOffsetShell");
        TOOLS.put("kafka-features", tools + "FeatureCommand");
        TOOLS.put("kafka-metadata-quorum", tools + "MetadataQuorumCommand");
        TOOLS.put("kafka-broker-api-versions", tools + "BrokerApiVersionsCommand");
        TOOLS.put("kafka-log-dirs", tools + "LogDirsCommand");
        TOOLS.put("kafka-delete-records", tools + "DeleteRecordsCommand");
        TOOLS.put("kafka-leader-election", tools + "LeaderElectionCommand");
        TOOLS.put("kafka-cluster", tools + "ClusterTool");
        TOOLS.put("kafka-dump-log", tools + "DumpLogSegments");
    }

    /** Thrown in place of the end of the process; an Error, so that no tool takes it for one of its own failures. */
    static class Ended extends Error {
        final int status;
        Ended(int status) { super("exit " + status, null, false, false); this.status = status; }
    }

    /** What a tool prints, until it ends: some tools catch every Throwable, also ours, and print it. */
    static class Capture extends ByteArrayOutputStream {
        Integer status;
        @Override public synchronized void write(int b) { if (status == null) super.write(b); }
        @Override public synchronized void write(byte[] b, int from, int size) { if (status == null) super.write(b, from, size); }
    }

    static Capture current;

    static void end(int status) {
        System.out.flush();
        System.err.flush();
        if (current.status == null) current.status = status;
        throw new Ended(status);
    }

    record Step(String name, List<String> words, String input) { }

    public static void main(String[] args) throws Exception {
        Map<String, String> values = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            values.put(args[i].substring(0, equals), args[i].substring(equals + 1));
        }
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        PrintStream real = System.out;
        for (Step step : parse(Files.readAllLines(Path.of(args[0])), values)) {
            Capture captured = new Capture();
            current = captured;
            String status = run(step, captured);
            if (captured.status != null) status = "" + captured.status;
            real.println("### " + step.name() + ": " + status);
            if (step.words().stream().anyMatch(w -> w.matches("--(create|alter|delete)")))
                Thread.sleep(300);    // Apache's brokers hear of it a little later
            String text = captured.toString(StandardCharsets.UTF_8);
            real.print(text);
            if (!text.isEmpty() && !text.endsWith("\n")) real.println();
            real.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    /** "name: tool words", where words may be quoted with '...'; lines that begin with "< " are its standard input. */
    static List<Step> parse(List<String> lines, Map<String, String> values) {
        List<Step> steps = new ArrayList<>();
        for (String raw : lines) {
            String line = raw;
            for (var v : values.entrySet()) line = line.replace("${" + v.getKey() + "}", v.getValue());
            if (line.isBlank() || line.startsWith("#")) continue;
            if (line.startsWith("< ")) {
                Step last = steps.remove(steps.size() - 1);
                steps.add(new Step(last.name(), last.words(), last.input() + line.substring(2) + "\n"));
                continue;
            }
            int colon = line.indexOf(": ");
            steps.add(new Step(line.substring(0, colon), words(line.substring(colon + 2)), ""));
        }
        return steps;
    }

    static List<String> words(String line) {
        List<String> words = new ArrayList<>();
        var matcher = java.util.regex.Pattern.compile("'([^']*)'|(\\S+)").matcher(line);
        while (matcher.find()) words.add(matcher.group(1) != null ? matcher.group(1) : matcher.group(2));
        return words;
    }

    static String run(Step step, Capture captured) throws Exception {
        PrintStream out = System.out, err = System.err, sink = new PrintStream(captured, true, StandardCharsets.UTF_8);
        InputStream in = System.in;
        System.setOut(sink);
        System.setErr(sink);
        System.setIn(new ByteArrayInputStream(step.input().getBytes(StandardCharsets.UTF_8)));
        FutureTask<String> task = new FutureTask<>(() -> call(step));
        Thread thread = new Thread(task, "tool");
        thread.setDaemon(true);
        thread.start();
        try {
            return task.get(TIMEOUT_S, TimeUnit.SECONDS);
        } catch (TimeoutException late) {
            thread.interrupt();
            return "no end within " + TIMEOUT_S + " s";
        } finally {
            sink.flush();
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
    }

    static String call(Step step) throws Exception {
        String name = TOOLS.get(step.words().get(0));
        if (name == null) return "no such tool: " + step.words().get(0);
        String[] args = step.words().subList(1, step.words().size()).toArray(new String[0]);
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            return "0";
        } catch (java.lang.reflect.InvocationTargetException wrapped) {
            if (wrapped.getCause() instanceof Ended ended) return "" + ended.status;
            System.out.println("uncaught: " + wrapped.getCause());
            return "1";
        }
    }
}
