import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.*;

/**
 * Apache Kafka's Java client against the broker under test (BROKER, BROKER_KIND). One source for every client version
 * that the runner puts on the class path. Prints PASS, FAIL or SKIP and the name for each case.
 */
public class CompatSuite {
    interface Case { void run() throws Exception; }

    static final String BROKER = System.getenv().getOrDefault("BROKER", "127.0.0.1:9092");
    static final boolean APACHE = "apache".equals(System.getenv("BROKER_KIND"));
    static final int LARGE = 10 * 1024 * 1024, LARGE_LIMIT = LARGE + 1024 * 1024;
    static final Map<String, Case> CASES = new LinkedHashMap<>();
    static Admin admin;

    static {
        CASES.put("produce_and_fetch", CompatSuite::produceAndFetch);
        CASES.put("many_partitions", CompatSuite::manyPartitions);
        CASES.put("acks", CompatSuite::acks);
        CASES.put("codecs", CompatSuite::codecs);
        CASES.put("headers_and_nulls", CompatSuite::headersAndNulls);
        CASES.put("ten_mib_records", CompatSuite::tenMibRecords);
        CASES.put("record_above_the_limit", CompatSuite::recordAboveTheLimit);
        CASES.put("timestamps", CompatSuite::timestamps);
        CASES.put("log_append_time", CompatSuite::logAppendTime);
        CASES.put("timestamp_refused", CompatSuite::timestampRefused);
        CASES.put("idempotence", CompatSuite::idempotence);
        CASES.put("compacted_topic_needs_keys", CompatSuite::compactedTopicNeedsKeys);
        CASES.put("read_committed", CompatSuite::readCommitted);
        CASES.put("seek_and_ends", CompatSuite::seekAndEnds);
        CASES.put("offset_out_of_range", CompatSuite::offsetOutOfRange);
        CASES.put("automatic_topic_creation", CompatSuite::automaticTopicCreation);
        CASES.put("topics", CompatSuite::topics);
        CASES.put("topics_by_id", CompatSuite::topicsById);
        CASES.put("topics_refused", CompatSuite::topicsRefused);
        CASES.put("partitions_added", CompatSuite::partitionsAdded);
        CASES.put("topic_configs", CompatSuite::topicConfigs);
        CASES.put("broker_configs", CompatSuite::brokerConfigs);
        CASES.put("config_resources", CompatSuite::configResources);
        CASES.put("records_deleted", CompatSuite::recordsDeleted);
        CASES.put("offsets_listed", CompatSuite::offsetsListed);
        CASES.put("cluster", CompatSuite::cluster);
        CASES.put("log_dirs", CompatSuite::logDirs);
        CASES.put("producers", CompatSuite::producers);
        CASES.put("features_and_quorum", CompatSuite::featuresAndQuorum);
        CASES.put("leader_election", CompatSuite::leaderElection);
        CASES.put("group_consumer", CompatSuite::groupConsumer);
        CASES.put("transactional_producer", CompatSuite::transactionalProducer);
    }

    // ---- the frame ----------------------------------------------------------------------------------------------

    public static void main(String[] args) {
        admin = Admin.create(Map.of("bootstrap.servers", BROKER));
        Set<String> wanted = new HashSet<>(List.of(args));
        int failed = 0;
        for (var entry : CASES.entrySet()) {
            if (!wanted.isEmpty() && !wanted.contains(entry.getKey())) continue;
            long began = System.nanoTime();
            try {
                entry.getValue().run();
                System.out.printf("PASS %s (%.1f s)%n", entry.getKey(), (System.nanoTime() - began) / 1e9);
            } catch (Throwable problem) {
                failed++;
                if (System.getenv("VERBOSE") != null) problem.printStackTrace();
                System.out.printf("FAIL %s: %s%n", entry.getKey(), String.valueOf(problem).replaceAll("\\s+", " "));
            }
        }
        admin.close(Duration.ofSeconds(1));
        System.exit(failed == 0 ? 0 : 1);
    }

    static void equal(Object got, Object want, String what) {
        if (!Objects.deepEquals(got, want)) throw new AssertionError(what + ": got " + brief(got) + ", want " + brief(want));
    }

    static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() < 600 ? text : text.substring(0, 600) + "…";
    }

    static void yes(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    /** The cause, which must be of the class given. */
    static Throwable fails(Class<? extends Throwable> kind, Case action) {
        try {
            action.run();
        } catch (Throwable problem) {
            Throwable cause = problem instanceof ExecutionException ? problem.getCause() : problem;
            yes(kind.isInstance(cause), "failed with " + cause + ", want " + kind.getSimpleName());
            return cause;
        }
        throw new AssertionError("did not fail; want " + kind.getSimpleName());
    }

    interface Check { boolean holds() throws Exception; }

    static void eventually(Check check, String what) throws Exception {
        long end = System.currentTimeMillis() + 10000;
        while (!check.holds()) {
            yes(System.currentTimeMillis() < end, "not within 10 s: " + what);
            Thread.sleep(50);
        }
    }

    static <T> T get(KafkaFuture<T> future) throws Exception { return future.get(60, TimeUnit.SECONDS); }

    static String name(String stem) { return "java-" + stem + "-" + UUID.randomUUID().toString().substring(0, 8); }

    static String makeTopic(String stem, int partitions, String... configs) throws Exception {
        Map<String, String> map = new HashMap<>();
        for (int i = 0; i < configs.length; i += 2) map.put(configs[i], configs[i + 1]);
        String topic = name(stem);
        get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(map))).all());
        eventually(() -> exists(topic), "the new topic is listed");
        return topic;
    }

    static Map<String, Object> options(Object... pairs) {
        Map<String, Object> map = new HashMap<>(Map.of("bootstrap.servers", BROKER));
        for (int i = 0; i < pairs.length; i += 2) map.put((String) pairs[i], pairs[i + 1]);
        return map;
    }

    static KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        return new KafkaProducer<>(options(pairs), new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... pairs) {
        Map<String, Object> map = options(pairs);
        map.putIfAbsent("auto.offset.reset", "earliest");
        map.putIfAbsent("enable.auto.commit", "false");
        return new KafkaConsumer<>(map, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static ProducerRecord<byte[], byte[]> record(String topic, String key, String value) {
        return new ProducerRecord<>(topic, 0, null, key == null ? null : bytes(key), value == null ? null : bytes(value));
    }

    static ProducerRecord<byte[], byte[]> timed(String topic, long timestamp) {
        return new ProducerRecord<>(topic, 0, timestamp, null, bytes("x"));
    }

    static List<RecordMetadata> send(List<ProducerRecord<byte[], byte[]>> records, Object... pairs) throws Exception {
        try (var client = producer(pairs)) {
            List<Future<RecordMetadata>> futures = new ArrayList<>();
            for (var r : records) futures.add(client.send(r));
            client.flush();
            List<RecordMetadata> done = new ArrayList<>();
            for (var f : futures) done.add(f.get());
            return done;
        }
    }

    static void sendValues(String topic, int count) throws Exception {
        send(IntStream.range(0, count).mapToObj(i -> record(topic, null, "" + i)).toList());
    }

    static List<ConsumerRecord<byte[], byte[]>> read(String topic, int count, long offset, Object... pairs) {
        try (var client = consumer(pairs)) {
            TopicPartition place = new TopicPartition(topic, 0);
            client.assign(List.of(place));
            client.seek(place, offset);
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            long end = System.currentTimeMillis() + 20000;
            while (found.size() < count && System.currentTimeMillis() < end)
                client.poll(Duration.ofMillis(500)).forEach(found::add);
            yes(found.size() >= count, found.size() + " records read, want " + count);
            return found.subList(0, count);
        }
    }

    static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(r -> r.value() == null ? null : new String(r.value(), StandardCharsets.UTF_8))
            .collect(Collectors.toList());
    }

    static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> "" + i).collect(Collectors.toList());
    }

    // ---- records ------------------------------------------------------------------------------------------------

    static void produceAndFetch() throws Exception {
        String topic = makeTopic("basic", 1);
        var done = send(IntStream.range(0, 5000).mapToObj(i -> record(topic, "k" + i, "" + i)).toList());
        equal(done.stream().map(RecordMetadata::offset).toList(), IntStream.range(0, 5000).mapToObj(i -> (long) i).toList(),
            "offsets answered");
        var found = read(topic, 5000, 0);
        equal(values(found), numbers(0, 5000), "values");
        equal(new String(found.get(77).key()), "k77", "key");
    }

    static void manyPartitions() throws Exception {
        String topic = makeTopic("many", 16);
        Set<String> got = new TreeSet<>(), want = new TreeSet<>();
        try (var out = producer(); var in = consumer("fetch.max.wait.ms", "200")) {
            in.assign(IntStream.range(0, 16).mapToObj(p -> new TopicPartition(topic, p)).toList());
            for (int turn = 0; turn < 6; turn++) {
                for (int p = turn % 2; p < 16; p += 2) {
                    out.send(new ProducerRecord<>(topic, p, null, bytes("" + turn)));
                    want.add(p + " " + turn);
                }
                out.flush();
                long end = System.currentTimeMillis() + 10000;
                while (got.size() < want.size() && System.currentTimeMillis() < end)
                    in.poll(Duration.ofMillis(300)).forEach(r -> got.add(r.partition() + " " + new String(r.value())));
            }
        }
        equal(got, want, "records of all partitions");
    }

    static void acks() throws Exception {
        String topic = makeTopic("acks", 1);
        for (String acks : List.of("0", "1", "all"))
            send(List.of(record(topic, null, acks)), "acks", acks, "enable.idempotence", "false");
        equal(values(read(topic, 3, 0)), List.of("0", "1", "all"), "values");
    }

    static void codecs() throws Exception {
        String topic = makeTopic("codecs", 1);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            List<String> texts = IntStream.range(0, 500).mapToObj(i -> codec + i + "x".repeat(400)).toList();
            long first = send(texts.stream().map(t -> record(topic, null, t)).toList(), "compression.type", codec,
                "linger.ms", "50", "batch.size", "60000").get(0).offset();
            equal(values(read(topic, 500, first, "check.crcs", "true")), texts, codec);
        }
    }

    static void headersAndNulls() throws Exception {
        String topic = makeTopic("headers", 1);
        byte[] all = new byte[256];
        for (int i = 0; i < 256; i++) all[i] = (byte) i;
        List<Header> headers = List.of(new RecordHeader("a", bytes("1")), new RecordHeader("a", bytes("2")),
            new RecordHeader("empty", new byte[0]), new RecordHeader("null", (byte[]) null), new RecordHeader("ключ", all));
        send(List.of(new ProducerRecord<>(topic, 0, null, null, bytes("v"), headers), record(topic, "k", null),
            record(topic, null, null), record(topic, "", "")));
        var found = read(topic, 4, 0);
        equal(Arrays.asList(found.get(0).headers().toArray()), headers, "headers");
        equal(values(found), Arrays.asList("v", null, null, ""), "values");
        equal(found.stream().map(r -> r.key() == null ? null : new String(r.key())).collect(Collectors.toList()),
            Arrays.asList(null, "k", null, ""), "keys");
    }

    static void tenMibRecords() throws Exception {
        String topic = makeTopic("large", 1, "max.message.bytes", "" + LARGE_LIMIT);
        byte[] large = new byte[LARGE];
        for (int i = 0; i < LARGE; i++) large[i] = (byte) (i ^ (i >> 8) * 31);
        for (String codec : List.of("none", "lz4")) {
            long offset = send(List.of(new ProducerRecord<>(topic, 0, null, large)), "max.request.size", LARGE_LIMIT,
                "buffer.memory", 4L * LARGE, "compression.type", codec).get(0).offset();
            yes(Arrays.equals(read(topic, 1, offset).get(0).value(), large), codec + ": the value came back changed");
        }
    }

    static void recordAboveTheLimit() throws Exception {
        String topic = makeTopic("limit", 1, "max.message.bytes", "1000");
        fails(RecordTooLargeException.class, () -> send(List.of(record(topic, null, "x".repeat(2000)))));
        // A batch above the limit whose records are each below it is split by the client and sent again.
        send(IntStream.range(0, 20).mapToObj(i -> record(topic, null, "x".repeat(300))).toList(), "linger.ms", "100");
        equal(read(topic, 20, 0).size(), 20, "records of the batch that was split");
    }

    static void timestamps() throws Exception {
        String topic = makeTopic("time", 1);
        send(List.of(timed(topic, 1000), timed(topic, 3000), timed(topic, 2000), timed(topic, 5000)));
        var found = read(topic, 4, 0);
        equal(found.stream().map(ConsumerRecord::timestamp).toList(), List.of(1000L, 3000L, 2000L, 5000L), "create times");
        equal(found.get(0).timestampType(), TimestampType.CREATE_TIME, "type");
        TopicPartition place = new TopicPartition(topic, 0);
        try (var client = consumer()) {
            for (long[] pair : new long[][] {{0, 0}, {1001, 1}, {3001, 3}, {5001, -1}}) {
                OffsetAndTimestamp got = client.offsetsForTimes(Map.of(place, pair[0])).get(place);
                equal(got == null ? -1L : got.offset(), pair[1], "offset for time " + pair[0]);
            }
        }
    }

    static void logAppendTime() throws Exception {
        String topic = makeTopic("append", 1, "message.timestamp.type", "LogAppendTime");
        long before = System.currentTimeMillis();
        for (String codec : List.of("none", "gzip")) {
            var done = send(List.of(timed(topic, 1000), timed(topic, 2000)), "compression.type", codec, "linger.ms", "50");
            yes(done.get(0).timestamp() >= before, "the answer names the append time");
        }
        for (var r : read(topic, 4, 0)) {
            equal(r.timestampType(), TimestampType.LOG_APPEND_TIME, "type");
            yes(r.timestamp() >= before && r.timestamp() <= System.currentTimeMillis() + 1, "time " + r.timestamp());
        }
    }

    static void timestampRefused() throws Exception {
        String topic = makeTopic("early", 1, "message.timestamp.before.max.ms", "1000");
        fails(InvalidTimestampException.class, () -> send(List.of(timed(topic, 1000))));
        sendValues(topic, 1);
    }

    static void idempotence() throws Exception {
        String topic = makeTopic("idempotent", 1);
        var done = send(IntStream.range(0, 2000).mapToObj(i -> record(topic, null, "" + i)).toList(),
            "enable.idempotence", "true", "batch.size", "500", "linger.ms", "0");
        equal(done.get(1999).offset(), 1999L, "last offset");
        equal(values(read(topic, 2000, 0)), numbers(0, 2000), "values");
    }

    static void compactedTopicNeedsKeys() throws Exception {
        String topic = makeTopic("compact", 1, "cleanup.policy", "compact");
        fails(InvalidRecordException.class, () -> send(List.of(record(topic, null, "x"))));
        send(List.of(record(topic, "k", "x")));
    }

    static void readCommitted() throws Exception {
        String topic = makeTopic("committed", 1);
        sendValues(topic, 10);
        equal(values(read(topic, 10, 0, "isolation.level", "read_committed")), numbers(0, 10), "values");
    }

    static void seekAndEnds() throws Exception {
        String topic = makeTopic("ends", 2);
        sendValues(topic, 7);
        TopicPartition p0 = new TopicPartition(topic, 0), p1 = new TopicPartition(topic, 1);
        try (var client = consumer()) {
            equal(client.beginningOffsets(List.of(p0, p1)), Map.of(p0, 0L, p1, 0L), "beginning");
            equal(client.endOffsets(List.of(p0, p1)), Map.of(p0, 7L, p1, 0L), "end");
            equal(client.partitionsFor(topic).size(), 2, "partitions");
            client.assign(List.of(p0, p1));
            client.seekToEnd(List.of(p0));
            equal(client.position(p0), 7L, "position at the end");
            equal(client.currentLag(p0).orElse(0), 0L, "lag");
        }
        equal(values(read(topic, 3, 4)), numbers(4, 7), "from the middle");
    }

    static void offsetOutOfRange() throws Exception {
        String topic = makeTopic("range", 1);
        sendValues(topic, 5);
        equal(read(topic, 1, 1000).get(0).offset(), 0L, "reset to earliest");
        fails(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> read(topic, 1, 1000, "auto.offset.reset", "none"));
    }

    static void automaticTopicCreation() throws Exception {
        String topic = name("auto");
        equal(send(List.of(record(topic, null, "x"))).get(0).offset(), 0L, "offset");
        equal(values(read(topic, 1, 0)), List.of("x"), "values");
    }

    // ---- admin --------------------------------------------------------------------------------------------------

    static TopicDescription describe(String topic) throws Exception {
        return get(admin.describeTopics(List.of(topic)).topicNameValues().get(topic));
    }

    static boolean exists(String topic) throws Exception { return get(admin.listTopics().names()).contains(topic); }

    static void topics() throws Exception {
        String topic = name("admin");
        var made = admin.createTopics(List.of(new NewTopic(topic, Optional.of(3), Optional.empty())
            .configs(Map.of("retention.ms", "1000000"))));
        equal(get(made.numPartitions(topic)), 3, "partitions answered");
        equal(get(made.replicationFactor(topic)), 1, "replication factor answered");
        equal(get(made.config(topic)).get("retention.ms").value(), "1000000", "config answered");
        equal(get(made.topicId(topic)), describe(topic).topicId(), "topic id");
        TopicDescription got = describe(topic);
        equal(got.partitions().stream().map(p -> p.partition() + ":" + p.leader().id() + ":" + p.replicas().size() + ":"
            + p.isr().size()).toList(), List.of("0:1:1:1", "1:1:1:1", "2:1:1:1"), "partitions");
        equal(got.isInternal(), false, "internal");
        equal(get(admin.listTopics().namesToListings()).get(topic).topicId(), got.topicId(), "listed");
        fails(TopicExistsException.class, () -> get(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all()));
        fails(UnknownTopicOrPartitionException.class, () -> describe(name("none")));
        get(admin.deleteTopics(List.of(topic)).all());
        eventually(() -> !exists(topic), "the topic goes");
        fails(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(topic)).all()));
    }

    static void topicsById() throws Exception {
        String topic = makeTopic("byid", 2);
        Uuid id = describe(topic).topicId();
        var got = get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds()).get(id);
        equal(got.name(), topic, "name");
        get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
        eventually(() -> !exists(topic), "the topic goes");
        fails(UnknownTopicIdException.class, () -> get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all()));
    }

    static void refused(Class<? extends Throwable> kind, NewTopic topic) throws Exception {
        fails(kind, () -> get(admin.createTopics(List.of(topic)).all()));
        yes(!exists(topic.name()), topic.name() + " exists");
    }

    static void topicsRefused() throws Exception {
        refused(InvalidTopicException.class, new NewTopic("bad name", 1, (short) 1));
        refused(InvalidTopicException.class, new NewTopic("x".repeat(250), 1, (short) 1));
        refused(InvalidPartitionsException.class, new NewTopic(name("zero"), 0, (short) 1));
        refused(InvalidReplicationFactorException.class, new NewTopic(name("rf"), 1, (short) 3));
        refused(InvalidReplicaAssignmentException.class, new NewTopic(name("who"), Map.of(0, List.of(99))));
        refused(InvalidReplicaAssignmentException.class, new NewTopic(name("gap"), Map.of(1, List.of(1))));
        refused(InvalidConfigurationException.class, new NewTopic(name("cfg"), 1, (short) 1).configs(Map.of("no.such", "1")));
        refused(InvalidConfigurationException.class,
            new NewTopic(name("val"), 1, (short) 1).configs(Map.of("cleanup.policy", "burn")));
        String dry = name("dry");
        get(admin.createTopics(List.of(new NewTopic(dry, 2, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all());
        yes(!exists(dry), "validate only created the topic");
        // Names that differ only in '.' and '_' would share a metric's name.
        String dotted = name("collide").replace('-', '.');
        get(admin.createTopics(List.of(new NewTopic(dotted, 1, (short) 1))).all());
        refused(InvalidTopicException.class, new NewTopic(dotted.replace('.', '_'), 1, (short) 1));
        String manual = name("manual");
        get(admin.createTopics(List.of(new NewTopic(manual, Map.of(0, List.of(1), 1, List.of(1))))).all());
        equal(describe(manual).partitions().size(), 2, "assigned by hand");
    }

    static void partitionsAdded() throws Exception {
        String topic = makeTopic("grow", 2);
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
        eventually(() -> describe(topic).partitions().size() == 4, "four partitions");
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5, List.of(List.of(1))))).all());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(9)), new CreatePartitionsOptions()
            .validateOnly(true)).all());
        eventually(() -> describe(topic).partitions().size() == 5, "five partitions");
        send(List.of(new ProducerRecord<>(topic, 4, null, bytes("x"))));
        fails(InvalidPartitionsException.class,
            () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all()));
        fails(InvalidPartitionsException.class,
            () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all()));
        fails(UnknownTopicOrPartitionException.class,
            () -> get(admin.createPartitions(Map.of(name("none"), NewPartitions.increaseTo(3))).all()));
    }

    static Config config(ConfigResource resource) throws Exception {
        return get(admin.describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true)
            .includeDocumentation(true)).values().get(resource));
    }

    static void alter(ConfigResource resource, String name, String value, AlterConfigOp.OpType type) throws Exception {
        get(admin.incrementalAlterConfigs(Map.of(resource,
            List.of(new AlterConfigOp(new ConfigEntry(name, value), type)))).all());
    }

    static void topicConfigs() throws Exception {
        String topic = makeTopic("config", 1, "retention.ms", "3600000");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        ConfigEntry entry = config(resource).get("retention.ms");
        equal(entry.value(), "3600000", "value");
        equal(entry.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "source");
        equal(entry.type(), ConfigEntry.ConfigType.LONG, "type");
        equal(entry.synonyms().get(0).name(), "retention.ms", "first synonym");
        yes(!entry.documentation().isEmpty(), "documentation");
        equal(config(resource).get("segment.bytes").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG, "default");
        alter(resource, "retention.ms", "7200000", AlterConfigOp.OpType.SET);
        equal(config(resource).get("retention.ms").value(), "7200000", "set");
        alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        equal(config(resource).get("cleanup.policy").value(), "delete,compact", "appended");
        alter(resource, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        equal(config(resource).get("cleanup.policy").value(), "compact", "subtracted");
        alter(resource, "retention.ms", null, AlterConfigOp.OpType.DELETE);
        equal(config(resource).get("retention.ms").value(), "604800000", "deleted");
        fails(InvalidConfigurationException.class, () -> alter(resource, "retention.ms", "soon", AlterConfigOp.OpType.SET));
        fails(InvalidConfigurationException.class, () -> alter(resource, "no.such", "1", AlterConfigOp.OpType.SET));
        fails(InvalidConfigurationException.class,
            () -> alter(resource, "retention.ms", "1", AlterConfigOp.OpType.APPEND));
        ConfigResource none = new ConfigResource(ConfigResource.Type.TOPIC, name("none"));
        fails(UnknownTopicOrPartitionException.class, () -> config(none));
        fails(UnknownTopicOrPartitionException.class, () -> alter(none, "retention.ms", "1", AlterConfigOp.OpType.SET));
    }

    static void brokerConfigs() throws Exception {
        ConfigResource one = new ConfigResource(ConfigResource.Type.BROKER, "1");
        ConfigResource every = new ConfigResource(ConfigResource.Type.BROKER, "");
        equal(config(one).get("node.id").isReadOnly(), true, "node.id is read only");
        equal(config(one).get("node.id").source(), ConfigEntry.ConfigSource.STATIC_BROKER_CONFIG, "source");
        String topic = makeTopic("default", 1), key = "log.retention.ms";
        ConfigResource ofTopic = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        alter(every, key, "5000000", AlterConfigOp.OpType.SET);
        eventually(() -> config(ofTopic).get("retention.ms").value().equals("5000000"), "the cluster's default reaches a topic");
        equal(config(ofTopic).get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, "source");
        alter(one, key, "6000000", AlterConfigOp.OpType.SET);
        eventually(() -> config(ofTopic).get("retention.ms").value().equals("6000000"), "the broker's own goes before");
        equal(config(ofTopic).get("retention.ms").synonyms().stream().map(s -> s.name() + "=" + s.value()).toList()
            .subList(0, 2), List.of("log.retention.ms=6000000", "log.retention.ms=5000000"), "synonyms");
        alter(one, key, null, AlterConfigOp.OpType.DELETE);
        alter(every, key, null, AlterConfigOp.OpType.DELETE);
        eventually(() -> config(ofTopic).get("retention.ms").value().equals("604800000"), "back to the default");
        fails(InvalidRequestException.class, () -> alter(one, "node.id", "2", AlterConfigOp.OpType.SET));
        fails(InvalidRequestException.class, () -> alter(every, "advertised.listeners", "PLAINTEXT://x:1",
            AlterConfigOp.OpType.SET));
        alter(every, "message.max.bytes", "5000", AlterConfigOp.OpType.SET);
        try {
            eventually(() -> {
                try {
                    send(List.of(record(topic, null, "x".repeat(8000))));
                    return false;
                } catch (ExecutionException problem) {
                    return problem.getCause() instanceof RecordTooLargeException;
                }
            }, "a dynamic message.max.bytes takes effect");
        } finally {
            alter(every, "message.max.bytes", null, AlterConfigOp.OpType.DELETE);
        }
    }

    static void configResources() throws Exception {
        String topic = makeTopic("listed", 1);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        eventually(() -> get(admin.listConfigResources().all()).contains(resource), "the topic is listed");
        var found = get(admin.listConfigResources().all());
        yes(found.contains(new ConfigResource(ConfigResource.Type.BROKER, "1")), "the broker is listed");
        var only = get(admin.listConfigResources(Set.of(ConfigResource.Type.BROKER), new ListConfigResourcesOptions()).all());
        yes(only.stream().allMatch(r -> r.type() == ConfigResource.Type.BROKER), "brokers only: " + only);
    }

    static void recordsDeleted() throws Exception {
        String topic = makeTopic("trim", 1);
        sendValues(topic, 10);
        TopicPartition place = new TopicPartition(topic, 0);
        equal(get(admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(place))
            .lowWatermark(), 4L, "low watermark");
        equal(values(read(topic, 6, 4)), numbers(4, 10), "what is left");
        equal(read(topic, 1, 0).get(0).offset(), 4L, "from below the start");
        fails(org.apache.kafka.common.errors.OffsetOutOfRangeException.class,
            () -> get(admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(11))).all()));
        equal(get(admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(place))
            .lowWatermark(), 10L, "all");
        String compacted = makeTopic("trimc", 1, "cleanup.policy", "compact");
        fails(PolicyViolationException.class, () -> get(admin.deleteRecords(
            Map.of(new TopicPartition(compacted, 0), RecordsToDelete.beforeOffset(0))).all()));
    }

    static ListOffsetsResult.ListOffsetsResultInfo offset(TopicPartition place, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(place, spec)).partitionResult(place));
    }

    static void offsetsListed() throws Exception {
        String topic = makeTopic("offsets", 1);
        TopicPartition place = new TopicPartition(topic, 0);
        equal(offset(place, OffsetSpec.maxTimestamp()).offset(), -1L, "max timestamp of an empty log");
        send(List.of(timed(topic, 1000), timed(topic, 9000), timed(topic, 2000)));
        equal(offset(place, OffsetSpec.earliest()).offset(), 0L, "earliest");
        equal(offset(place, OffsetSpec.latest()).offset(), 3L, "latest");
        equal(offset(place, OffsetSpec.latest()).leaderEpoch(), Optional.of(0), "leader epoch");
        equal(offset(place, OffsetSpec.maxTimestamp()).offset(), 1L, "max timestamp");
        equal(offset(place, OffsetSpec.maxTimestamp()).timestamp(), 9000L, "its timestamp");
        equal(offset(place, OffsetSpec.earliestLocal()).offset(), 0L, "earliest local");
        equal(offset(place, OffsetSpec.latestTiered()).offset(), -1L, "latest tiered");
        equal(offset(place, OffsetSpec.forTimestamp(1500)).offset(), 1L, "for a time");
        equal(offset(place, OffsetSpec.forTimestamp(9001)).offset(), -1L, "for a time after all");
    }

    static void cluster() throws Exception {
        var got = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)
            .includeFencedBrokers(true));
        equal(get(got.nodes()).stream().map(n -> n.id() + "@" + n.host() + ":" + n.port()).toList(), List.of("1@" + BROKER),
            "nodes");
        equal(get(got.controller()).id(), 1, "controller");
        equal(get(got.clusterId()).length(), 22, "length of the cluster id");
        yes(get(got.authorizedOperations()).contains(AclOperation.ALTER), "operations " + get(got.authorizedOperations()));
    }

    static void logDirs() throws Exception {
        String topic = makeTopic("dirs", 2);
        sendValues(topic, 100);
        var dirs = get(admin.describeLogDirs(List.of(1)).descriptions().get(1));
        equal(dirs.size(), 1, "directories");
        var dir = dirs.values().iterator().next();
        yes(dir.error() == null, "error " + dir.error());
        yes(dir.totalBytes().getAsLong() > 0 && dir.usableBytes().getAsLong() > 0, "bytes of the volume");
        yes(dir.replicaInfos().get(new TopicPartition(topic, 0)).size() > 100, "size of partition 0");
        equal(dir.replicaInfos().get(new TopicPartition(topic, 1)).size(), 0L, "size of partition 1");
        equal(dir.replicaInfos().get(new TopicPartition(topic, 0)).isFuture(), false, "future");
    }

    static void producers() throws Exception {
        String topic = makeTopic("producers", 1);
        sendValues(topic, 10);
        TopicPartition place = new TopicPartition(topic, 0);
        var states = get(admin.describeProducers(List.of(place)).partitionResult(place)).activeProducers();
        equal(states.size(), 1, "active producers");
        equal(states.get(0).lastSequence(), 9, "last sequence");
        equal(states.get(0).producerEpoch(), 0, "epoch");
        equal(states.get(0).currentTransactionStartOffset(), OptionalLong.empty(), "transaction");
    }

    static void featuresAndQuorum() throws Exception {
        var features = get(admin.describeFeatures().featureMetadata());
        equal(features.finalizedFeatures().get("metadata.version").maxVersionLevel(), (short) 30, "metadata.version");
        yes(features.supportedFeatures().containsKey("kraft.version"), "kraft.version is supported");
        yes(features.finalizedFeaturesEpoch().isPresent(), "epoch of the features");
        var quorum = get(admin.describeMetadataQuorum().quorumInfo());
        equal(quorum.leaderId(), 1, "leader");
        equal(quorum.voters().stream().map(QuorumInfo.ReplicaState::replicaId).toList(), List.of(1), "voters");
        yes(quorum.highWatermark() > 0, "high watermark");
        yes(!quorum.nodes().get(1).endpoints().isEmpty(), "endpoints of the voter");
        var update = new FeatureUpdate((short) 29, FeatureUpdate.UpgradeType.SAFE_DOWNGRADE);
        var result = admin.updateFeatures(Map.of("metadata.version", update), new UpdateFeaturesOptions().validateOnly(true));
        try {
            get(result.all());
        } catch (ExecutionException problem) {
            yes(problem.getCause() instanceof InvalidUpdateVersionException, "downgrade refused with " + problem.getCause());
        }
        fails(InvalidUpdateVersionException.class, () -> get(admin.updateFeatures(Map.of("metadata.version",
            new FeatureUpdate((short) 99, FeatureUpdate.UpgradeType.UPGRADE)), new UpdateFeaturesOptions()).all()));
    }

    static void leaderElection() throws Exception {
        TopicPartition place = new TopicPartition(makeTopic("elect", 1), 0), none = new TopicPartition(name("none"), 0);
        var got = get(admin.electLeaders(ElectionType.PREFERRED, Set.of(place, none)).partitions());
        yes(got.get(place).get() instanceof ElectionNotNeededException, "preferred: " + got.get(place));
        yes(got.get(none).get() instanceof UnknownTopicOrPartitionException, "unknown: " + got.get(none));
    }

    // ---- groups ---------------------------------------------------------------------------------------------------

    /** Two members of every classic assignor share a topic; one leaves; the offsets stay. */
    static void groupConsumer() throws Exception {
        for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor")) {
            String topic = makeTopic("group", 4), group = name("group");
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int p = 0; p < 4; p++) records.add(new ProducerRecord<>(topic, p, null, bytes("x")));
            send(records);
            Object[] config = {"group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor};
            try (var one = consumer(config)) {
                one.subscribe(List.of(topic));
                long end = System.currentTimeMillis() + 15000;
                try (var two = consumer(config)) {
                    two.subscribe(List.of(topic));
                    while ((one.assignment().size() != 2 || two.assignment().size() != 2) && System.currentTimeMillis() < end) {
                        one.poll(Duration.ofMillis(100));
                        two.poll(Duration.ofMillis(100));
                    }
                    equal(one.assignment().size(), 2, assignor + ": partitions of the first");
                    equal(two.assignment().size(), 2, assignor + ": partitions of the second");
                    yes(Collections.disjoint(one.assignment(), two.assignment()), assignor + ": shared partitions");
                    for (var member : List.of(one, two)) {
                        for (var place : member.assignment())
                            while (member.position(place) < 1 && System.currentTimeMillis() < end) member.poll(Duration.ofMillis(100));
                        member.commitSync();
                    }
                }
                while (one.assignment().size() != 4 && System.currentTimeMillis() < end) one.poll(Duration.ofMillis(100));
                equal(one.assignment().size(), 4, assignor + ": partitions of the one that is left");
            }
            var offsets = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
            equal(offsets.size(), 4, assignor + ": committed partitions");
            for (var offset : offsets.values()) equal(offset.offset(), 1L, assignor + ": committed offset");
            get(admin.deleteConsumerGroups(List.of(group)).all());
        }
    }

    // ---- transactions -------------------------------------------------------------------------------------------

    /** Two transactions that commit, one between them that does not, and a second producer that takes the id over. */
    static void transactionalProducer() throws Exception {
        String topic = makeTopic("transactions", 1), id = name("txn");
        try (var client = producer("transactional.id", id)) {
            client.initTransactions();
            for (int transaction = 0; transaction < 3; transaction++) {
                client.beginTransaction();
                for (int n = 0; n < 3; n++)
                    client.send(record(topic, null, "" + (3 * transaction + n)));
                client.flush();      // an abort drops what has not been sent
                if (transaction == 1) client.abortTransaction();
                else client.commitTransaction();
            }
            equal(values(read(topic, 6, 0, "isolation.level", "read_committed")), List.of("0", "1", "2", "6", "7", "8"), "committed");
            equal(values(read(topic, 9, 0)), numbers(0, 9), "all");
            client.beginTransaction();
            try (var newer = producer("transactional.id", id)) {
                newer.initTransactions();
            }
            fails(KafkaException.class, () -> {
                client.send(record(topic, null, "late"));
                client.commitTransaction();
            });
        }
    }
}
