import java.util.*;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Transactions of some records by some producers of Apache Kafka's client, each on a thread and a partition of its own, for some seconds.
 * Arguments: broker, topic, producers, records in a transaction, bytes in a record, seconds, which begin
 * once each has finished some transactions. Prints `records transactions seconds` and behind it p50 and p99 in ms of the commit, and of a whole transaction.
 * `warm` and `done` on lines of their own tell the caller when to read the broker's CPU time.
 */
public class TxnLoad {
    static final int WARM_UP = 100;

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int producers = Integer.parseInt(args[2]), records = Integer.parseInt(args[3]), size = Integer.parseInt(args[4]);
        double seconds = Double.parseDouble(args[5]);
        List<Thread> threads = new ArrayList<>();
        List<Long> commits = Collections.synchronizedList(new ArrayList<>()), wholes = Collections.synchronizedList(new ArrayList<>());
        AtomicLong counted = new AtomicLong();
        CountDownLatch warm = new CountDownLatch(producers);
        AtomicBoolean over = new AtomicBoolean();
        for (int n = 0; n < producers; n++) {
            Map<String, Object> p = new HashMap<>(Map.of("bootstrap.servers", args[0], "transactional.id", "bench-" + n, "linger.ms", 5,
                "batch.size", 65536));
            int partition = n;
            threads.add(new Thread(() -> {
                try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
                    producer.initTransactions();
                    byte[] value = new byte[size];
                    for (int done = 0; !over.get(); done++) {
                        long began = System.nanoTime();
                        producer.beginTransaction();
                        for (int i = 0; i < records; i++) producer.send(new ProducerRecord<>(topic, partition, null, value));
                        producer.flush();
                        long before = System.nanoTime();
                        producer.commitTransaction();
                        long after = System.nanoTime();
                        if (done == WARM_UP) warm.countDown();
                        if (warm.getCount() > 0 || over.get()) continue;
                        commits.add(after - before);
                        wholes.add(after - began);
                        counted.addAndGet(records);
                    }
                }
            }));
        }
        for (Thread t : threads) t.start();
        warm.await();
        System.out.println("warm");
        Thread.sleep((long) (seconds * 1000));
        over.set(true);
        System.out.println("done");
        for (Thread t : threads) t.join();
        System.out.printf(Locale.ROOT, "%d %d %.3f %s %s%n", counted.get(), commits.size(), seconds, percentiles(commits), percentiles(wholes));
    }

    static String percentiles(List<Long> values) {
        List<Long> sorted = new ArrayList<>(values);
        Collections.sort(sorted);
        return String.format(Locale.ROOT, "%.3f %.3f", sorted.get(sorted.size() / 2) / 1e6, sorted.get((int) (sorted.size() * 0.99)) / 1e6);
    }
}
