import java.io.*;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/**
 * Workers with Apache Kafka's Java client that write down what they asked for and what came of it, as JSON lines; README.md
 * tells what a line means. Arguments are name=value: see Settings. With final=FILE, which has `key offset` lines, each worker
 * reads all those keys from the beginning until it has passed the offsets.
 */
public class Recorder {
    record Settings(String bootstrap, String out, long seed, int first, List<String> modes, int incarnation, long beganNs,
                    double seconds, double periodS, double crashS, String acks, String protocol, String finalKeys) {
        static Settings of(String[] args) {
            Map<String, String> a = Arrays.stream(args).map(s -> s.split("=", 2)).collect(Collectors.toMap(s -> s[0], s -> s[1]));
            return new Settings(a.get("bootstrap"), a.get("out"), Long.parseLong(a.get("seed")), Integer.parseInt(a.get("first")),
                List.of(a.get("modes").split(",")), Integer.parseInt(a.get("incarnation")), Long.parseLong(a.get("began")),
                Double.parseDouble(a.get("seconds")), Double.parseDouble(a.get("period")), Double.parseDouble(a.get("crash")),
                a.getOrDefault("acks", "all"), a.getOrDefault("protocol", "classic"), a.get("final"));
        }
    }

    static final int PARTITIONS = 2, WINDOW = 3;
    static Settings settings;
    static Writer out;

    static synchronized void line(String process, String type, String f, String value, String more) throws IOException {
        out.write("{\"process\":\"" + process + "\",\"time\":" + System.nanoTime() + ",\"type\":\"" + type + "\",\"f\":\"" + f
            + "\",\"value\":" + value + more + "}\n");
        out.flush();        // what is in the page cache outlives the process
    }

    static String text(String s) {
        return "\"" + s.replace("\\", "\\\\").replace("\"", "'").replaceAll("[\\p{Cntrl}]", " ") + "\"";
    }

    static String key(TopicPartition p) {
        return p.toString();
    }

    static String keys(Collection<TopicPartition> parts) {
        return parts.stream().map(p -> text(key(p))).sorted().collect(Collectors.joining(",", "[", "]"));
    }

    /** The transaction must not be committed: others have been given what it polled, or it is aborted on purpose. */
    static class Abandoned extends RuntimeException {
        Abandoned(String why) { super(why); }
    }

    static class Worker extends Thread implements ConsumerRebalanceListener {
        final int number;
        final boolean transactional, subscribes;
        final Random random;
        int generation = 0, written = 0;
        String process, transactionalId;
        Producer<String, String> producer;
        Consumer<String, String> consumer;
        Set<TopicPartition> wanted = Set.of();
        final Set<TopicPartition> revoked = new HashSet<>();
        final List<String> rebalances = new ArrayList<>();

        Worker(int number, String mode) {
            this.number = number;
            transactional = mode.startsWith("txn");
            subscribes = mode.endsWith("subscribe");
            random = new Random(settings.seed * 1000003 + number * 1009 + settings.incarnation);
        }

        boolean over() {
            return (System.nanoTime() - settings.beganNs) / 1e9 > settings.seconds;
        }

        /** The keys in use now: the newest topics. */
        List<TopicPartition> window() {
            long newest = (long) ((System.nanoTime() - settings.beganNs) / 1e9 / settings.periodS);
            List<TopicPartition> found = new ArrayList<>();
            for (long t = Math.max(0, newest - WINDOW + 1); t <= newest; t++)
                for (int p = 0; p < PARTITIONS; p++) found.add(new TopicPartition("t" + t, p));
            return found;
        }

        // ---- clients

        void open() {
            process = "j" + number + "." + settings.incarnation + "." + generation++;
            wanted = Set.of();
            Map<String, Object> p = new HashMap<>();
            p.put("bootstrap.servers", settings.bootstrap);
            p.put("client.id", process);
            p.put("reconnect.backoff.ms", 20);
            p.put("reconnect.backoff.max.ms", 200);
            Map<String, Object> c = new HashMap<>(p);
            p.put("acks", settings.acks);
            p.put("enable.idempotence", settings.acks.equals("all"));
            p.put("request.timeout.ms", 3000);
            p.put("delivery.timeout.ms", 8000);
            p.put("max.block.ms", 8000);
            p.put("linger.ms", 0);
            if (transactional) {
                // One id for life is fenced and taken over; a new one leaves the old transaction to its timeout.
                transactionalId = "txn-j" + number + (random.nextBoolean() ? "" : "-" + process);
                p.put("transactional.id", transactionalId);
                p.put("transaction.timeout.ms", 6000);
            }
            c.put("group.id", subscribes ? "shared" : "own-j" + number);
            c.put("isolation.level", "read_committed");
            c.put("auto.offset.reset", "earliest");
            c.put("enable.auto.commit", false);
            c.put("max.poll.records", 200);
            c.put("default.api.timeout.ms", 8000);
            c.put("request.timeout.ms", 5000);
            c.put("group.protocol", settings.protocol);
            if (settings.protocol.equals("classic")) {
                c.put("session.timeout.ms", 6000);
                c.put("heartbeat.interval.ms", 500);
            }
            producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer());
            consumer = new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
            if (transactional) producer.initTransactions();
        }

        /** Drops the clients as a crash would: nothing is told to the broker. */
        void drop() {
            if (producer != null) producer.close(Duration.ZERO);
            if (consumer != null) {
                consumer.close(CloseOptions.timeout(Duration.ZERO)
                    .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP));
            }
            producer = null;
            consumer = null;
        }

        public void onPartitionsAssigned(Collection<TopicPartition> parts) { note("assigned", parts); }
        public void onPartitionsRevoked(Collection<TopicPartition> parts) { note("revoked", parts); revoked.addAll(parts); }
        public void onPartitionsLost(Collection<TopicPartition> parts) { note("lost", parts); revoked.addAll(parts); }

        void note(String what, Collection<TopicPartition> parts) {
            rebalances.add("[\"" + what + "\"," + keys(parts) + "]");
        }

        // ---- operations

        /** Follows the window; what has been left behind stays in with a chance of one in three. */
        void choose() throws IOException {
            Set<TopicPartition> next = new TreeSet<>(Comparator.comparing(Recorder::key));
            next.addAll(window());
            if (random.nextInt(3) == 0) next.addAll(wanted);
            if (subscribes) next = next.stream().flatMap(p -> java.util.stream.IntStream.range(0, PARTITIONS)
                .mapToObj(n -> new TopicPartition(p.topic(), n))).collect(Collectors.toCollection(() -> new TreeSet<>(Comparator.comparing(Recorder::key))));
            String f = subscribes ? "subscribe" : "assign";
            line(process, "invoke", f, keys(next), "");
            if (subscribes) consumer.subscribe(next.stream().map(TopicPartition::topic).collect(Collectors.toSet()), this);
            else consumer.assign(next);
            wanted = Set.copyOf(next);
            line(process, "ok", f, keys(next), "");
        }

        String poll(Map<TopicPartition, Long> first, Map<TopicPartition, OffsetAndMetadata> next) {
            ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
            List<String> told = new ArrayList<>();
            for (TopicPartition p : records.partitions()) {
                List<String> pairs = new ArrayList<>();
                for (ConsumerRecord<String, String> r : records.records(p)) {
                    pairs.add("[" + r.offset() + "," + text(r.value()) + "]");
                    first.putIfAbsent(p, r.offset());
                    next.put(p, new OffsetAndMetadata(r.offset() + 1));
                }
                told.add(text(key(p)) + ":[" + String.join(",", pairs) + "]");
            }
            return "[\"poll\",{" + String.join(",", told) + "}]";
        }

        /** One operation of some sends and polls; whether the clients can go on. */
        boolean operate() throws IOException {
            List<TopicPartition> window = window();
            int steps = transactional ? 1 + random.nextInt(4) : 1;
            boolean sends = random.nextInt(2) == 0;
            String f = transactional ? "txn" : sends ? "send" : "poll";
            List<Object[]> plan = new ArrayList<>();
            List<String> asked = new ArrayList<>(), done = new ArrayList<>();
            if (!transactional && sends) steps = 1 + random.nextInt(3);
            for (int i = 0; i < steps; i++) {
                boolean send = transactional ? random.nextInt(2) == 0 : sends;
                TopicPartition p = window.get(random.nextInt(window.size()));
                String value = number + "." + settings.incarnation + "." + written++;
                plan.add(send ? new Object[] {p, value} : new Object[] {});
                asked.add(send ? "[\"send\"," + text(key(p)) + "," + text(value) + "]" : "[\"poll\"]");
            }
            rebalances.clear();
            revoked.clear();
            line(process, "invoke", f, "[" + String.join(",", asked) + "]", "");
            Map<TopicPartition, Long> first = new HashMap<>();
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            String type = "ok", error = null;
            boolean alive = true, committing = false;
            try {
                if (transactional) producer.beginTransaction();
                for (int i = 0; i < plan.size(); i++) {
                    Object[] step = plan.get(i);
                    if (step.length == 0) {
                        done.add(poll(first, next));
                        continue;
                    }
                    TopicPartition p = (TopicPartition) step[0];
                    done.add(asked.get(i));
                    RecordMetadata where = producer.send(new ProducerRecord<>(p.topic(), p.partition(), null, (String) step[1]))
                        .get(10, TimeUnit.SECONDS);
                    String offset = where.hasOffset() ? Long.toString(where.offset()) : "null";
                    done.set(done.size() - 1, "[\"send\"," + text(key(p)) + ",[" + offset + "," + text((String) step[1]) + "]]");
                }
                if (transactional) {
                    if (first.keySet().stream().anyMatch(revoked::contains)) throw new Abandoned("what was polled is somebody else's now");
                    if (!next.isEmpty()) producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                    if (random.nextInt(10) == 0) throw new Abandoned("on purpose");
                    committing = true;
                    producer.commitTransaction();
                } else if (!sends && subscribes && !next.isEmpty()) {
                    consumer.commitSync(next);
                }
            } catch (Exception problem) {
                Throwable cause = problem instanceof ExecutionException ? problem.getCause() : problem;
                error = cause.getClass().getSimpleName() + (committing ? " at commit" : "") + ": " + cause.getMessage();
                type = transactional ? (committing ? "info" : "fail") : definite(cause) ? "fail" : "info";
                if (transactional) {
                    try {
                        producer.abortTransaction();
                        // An abort that is answered after a commit that was not: the commit was never sent.
                        type = "fail";
                    } catch (Exception fatal) {
                        alive = false;
                    }
                    if (cause instanceof InvalidTxnStateException) type = "fail";
                }
                try {
                    for (var e : first.entrySet()) if (consumer.assignment().contains(e.getKey())) consumer.seek(e.getKey(), e.getValue());
                } catch (Exception lost) {
                    alive = false;
                }
                if (type.equals("info")) alive = false;
            }
            String more = (error == null ? "" : ",\"error\":" + text(error))
                + (rebalances.isEmpty() ? "" : ",\"rebalances\":[" + String.join(",", rebalances) + "]");
            line(process, type, f, "[" + String.join(",", done) + "]", more);
            return alive;
        }

        /** Errors after which a record is certainly not in the log. */
        static boolean definite(Throwable t) {
            return t instanceof ProducerFencedException || t instanceof OutOfOrderSequenceException || t instanceof AuthorizationException
                || t instanceof InvalidProducerEpochException || t instanceof UnknownTopicOrPartitionException || t instanceof InvalidTopicException;
        }

        /** Dies; in a transaction now and then, in the middle of it. */
        void crash() throws Exception {
            if (transactional && random.nextBoolean()) {
                TopicPartition p = window().get(0);
                String value = number + "." + settings.incarnation + "." + written++;
                line(process, "invoke", "txn", "[[\"send\"," + text(key(p)) + "," + text(value) + "]]", "");
                try {
                    producer.beginTransaction();
                    producer.send(new ProducerRecord<>(p.topic(), p.partition(), null, value)).get(10, TimeUnit.SECONDS);
                } catch (Exception ignored) {
                    // It is dropped in any case.
                }
                line(process, "fail", "txn", "[[\"send\"," + text(key(p)) + "," + text(value) + "]]", ",\"error\":\"dropped in the middle\"");
            }
            line(process, "invoke", "crash", "null", "");
            line(process, "info", "crash", "null", "");
        }

        @Override public void run() {
            try {
                while (!over()) {
                    try {
                        open();
                        double dies = System.nanoTime() / 1e9 + settings.crashS * (0.5 + random.nextDouble());
                        choose();
                        while (!over()) {
                            if (random.nextInt(64) == 0 || !wanted.containsAll(window())) choose();
                            if (!operate()) break;
                            if (System.nanoTime() / 1e9 > dies) {
                                crash();
                                break;
                            }
                            Thread.sleep(random.nextInt(20));
                        }
                    } catch (KafkaException problem) {
                        Thread.sleep(50);           // no broker, while clients were being opened
                    }
                    if (!over()) drop();
                }
                if (producer != null) producer.close(Duration.ofSeconds(2));
                if (consumer != null) consumer.close(CloseOptions.timeout(Duration.ofSeconds(2)));
            } catch (Exception problem) {
                problem.printStackTrace();
                System.exit(3);
            }
        }

        /** The final phase: everything, from the beginning. */
        void readAll(Map<TopicPartition, Long> last) throws IOException {
            process = "jf" + number;
            long end = System.nanoTime() + (long) (settings.seconds * 1e9);
            Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", settings.bootstrap, "isolation.level", "read_committed",
                "auto.offset.reset", "earliest", "enable.auto.commit", false, "max.poll.records", 2000));
            consumer = new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
            line(process, "invoke", "assign", keys(last.keySet()), "");
            consumer.assign(last.keySet());
            consumer.seekToBeginning(last.keySet());
            line(process, "ok", "assign", keys(last.keySet()), "");
            boolean complete = false;
            while (!complete && System.nanoTime() < end) {
                line(process, "invoke", "poll", "[[\"poll\"]]", "");
                String polled = poll(new HashMap<>(), new HashMap<>());
                line(process, "ok", "poll", "[" + polled + "]", "");
                complete = true;
                for (var e : last.entrySet()) complete &= consumer.position(e.getKey()) > e.getValue();
            }
            System.out.println("final " + process + (complete ? " complete" : " incomplete"));
            consumer.close();
        }
    }

    public static void main(String[] args) throws Exception {
        settings = Settings.of(args);
        out = new FileWriter(settings.out, true);
        List<Worker> workers = new ArrayList<>();
        for (int i = 0; i < settings.modes.size(); i++) workers.add(new Worker(settings.first + i, settings.modes.get(i)));
        if (settings.finalKeys != null) {
            Map<TopicPartition, Long> last = new HashMap<>();
            for (String l : Files.readAllLines(Path.of(settings.finalKeys))) {
                String[] w = l.split(" ");
                int dash = w[0].lastIndexOf('-');
                last.put(new TopicPartition(w[0].substring(0, dash), Integer.parseInt(w[0].substring(dash + 1))), Long.parseLong(w[1]));
            }
            for (Worker w : workers) w.readAll(last);
            return;
        }
        for (Worker w : workers) w.start();
        for (Worker w : workers) w.join();
    }
}
